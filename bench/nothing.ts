/** Does nothing: what a process of the runtime costs. */
export {};
