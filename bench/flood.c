/*
 * Floods a UDP port: with random datagrams from many sources, or with given
 * ones from a single source.
 *
 *   flood HOST PORT SIZE PER_SECOND SECONDS [SOURCE POOL]
 *
 * PER_SECOND 0 is as many as there go, from every processor. The sources are
 * SOURCES addresses from 10.98.0.0 on, or SOURCE, which must be this machine's.
 * POOL is a file of datagrams of SIZE bytes each, which are sent in turns.
 * Ends early on SIGTERM.
 * Prints {"sent": N, "seconds": S, "perSecond": R}.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SOURCES = 64, BATCH = 32, MAX_SIZE = 1472 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

/* xorshift64: junk needs no better. */
static uint64_t draw(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  return *state ^= *state << 17;
}

static volatile sig_atomic_t stopped;
static void stop(int signal) {
  (void)signal;
  stopped = 1;
}

/* What every thread sends, and how. */
static struct sockaddr_in to = {.sin_family = AF_INET};
static unsigned char *pool;
static long pool_count, size;
static double rate, seconds, start;

/* A thread, with sockets of its own. */
struct sender {
  pthread_t thread;
  int sockets[SOURCES];
  uint64_t state, sent;
};

static void *send_all(void *argument) {
  struct sender *own = argument;
  unsigned char(*data)[MAX_SIZE] = malloc(BATCH * sizeof *data);
  struct iovec parts[BATCH];
  struct mmsghdr messages[BATCH];
  memset(messages, 0, sizeof messages);
  for (int i = 0; i < BATCH; i++) {
    for (int at = 0; at < size; at++) data[i][at] = draw(&own->state);
    parts[i] = (struct iovec){data[i], size};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  double elapsed;
  for (int turn = 0; !stopped && (elapsed = now() - start) < seconds; turn++) {
    int count = BATCH;
    if (rate > 0) {
      double due = rate * elapsed - own->sent;
      if (due < 1) {
        usleep(200);
        continue;
      }
      if (due < count) count = due;
    }
    for (int i = 0; pool && i < count; i++)
      parts[i].iov_base = pool + (own->sent + i) % pool_count * size;
    for (int i = 0; !pool && i < count; i++) {
      uint64_t fresh[2] = {draw(&own->state), draw(&own->state)};
      memcpy(data[i], fresh, size < 16 ? size : 16);
    }
    int done = sendmmsg(own->sockets[turn % SOURCES], messages, count, 0);
    if (done > 0) own->sent += done;
  }
  free(data);
  return NULL;
}

static int read_pool(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END)) return 0;
  pool_count = ftell(file) / size;
  pool = malloc(pool_count * size + 1);
  rewind(file);
  return pool_count > 0 && fread(pool, size, pool_count, file) == pool_count;
}

int main(int argc, char **argv) {
  if (argc < 6) {
    fputs("usage: flood HOST PORT SIZE PER_SECOND SECONDS [SOURCE POOL]\n", stderr);
    return 2;
  }
  to.sin_port = htons(atoi(argv[2]));
  if (inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) return 2;
  size = atoi(argv[3]);
  rate = atof(argv[4]), seconds = atof(argv[5]);
  if (size < 1 || size > MAX_SIZE) return 2;
  struct in_addr single;
  if (argc > 6 && inet_pton(AF_INET, argv[6], &single) != 1) return 2;
  if (argc > 7 && !read_pool(argv[7])) return 2;

  int count = rate > 0 ? 1 : sysconf(_SC_NPROCESSORS_ONLN);
  struct sender *senders = calloc(count, sizeof *senders);
  for (int n = 0; n < count; n++) {
    senders[n].state = 88172645463325252ull + n;
    for (int i = 0; i < SOURCES; i++) {
      struct sockaddr_in from = {.sin_family = AF_INET};
      from.sin_addr.s_addr = htonl((10u << 24 | 98u << 16) + i + 1);
      if (argc > 6) from.sin_addr = single;
      int one = senders[n].sockets[i] = socket(AF_INET, SOCK_DGRAM, 0);
      if (bind(one, (struct sockaddr *)&from, sizeof from) ||
          connect(one, (struct sockaddr *)&to, sizeof to)) {
        perror("flood");
        return 1;
      }
    }
  }

  signal(SIGTERM, stop);
  start = now();
  for (int n = 0; n < count; n++)
    if (pthread_create(&senders[n].thread, NULL, send_all, &senders[n])) return 1;
  uint64_t sent = 0;
  for (int n = 0; n < count; n++) {
    pthread_join(senders[n].thread, NULL);
    sent += senders[n].sent;
  }
  double elapsed = now() - start;
  printf("{\"sent\": %llu, \"seconds\": %.3f, \"perSecond\": %.0f}\n",
         (unsigned long long)sent, elapsed, sent / elapsed);
  return 0;
}
