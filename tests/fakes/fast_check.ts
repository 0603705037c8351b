/**
 * fast-check, whose arrays and texts are as long as a test allows: by default
 * they have ten elements at most, whatever `maxLength` says.
 * @module
 */

import fc from "fast-check";

fc.configureGlobal({
  defaultSizeToMaxWhenMaxSpecified: true,
});

export default fc;
