/* The least that samples of one moment take on a machine: a program that makes the system calls for them and does nothing else.
 *
 *   floor naps PID RATE SECONDS OUTPUT     wakes up RATE times a second
 *   floor calls PID RATE SECONDS OUTPUT    and each time stops the thread PID, reads 16 KiB of its process, and lets it go
 *
 * Writes how many samples that were to OUTPUT.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NANOSECONDS = 1000000000, BYTES = 16 << 10 };

static char bytes[BYTES];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * (long long)NANOSECONDS + time.tv_nsec;
}

/* Where a process has so many bytes of its own. */
static unsigned long memory_of(int pid) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "r");
    if (!maps) fail(path);
    while (fgets(line, sizeof line, maps)) {
        unsigned long start, end;
        char may[5];
        if (sscanf(line, "%lx-%lx %4s", &start, &end, may) == 3 && may[1] == 'w' && end - start >= BYTES) {
            fclose(maps);
            return start;
        }
    }
    errno = ENOMEM;
    fail(path);
    return 0;
}

static void sample(int pid, int state, unsigned long memory) {
    char line[512];
    if (pread(state, line, sizeof line, 0) <= 0) fail("stat");
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) || ptrace(PTRACE_INTERRUPT, pid, 0, 0)) fail("ptrace");
    siginfo_t stop = {0};
    while (!stop.si_pid)
        if (waitid(P_PID, pid, &stop, WSTOPPED | WNOHANG | __WALL)) fail("waitid");
    struct iovec local = {bytes, BYTES}, remote = {(void *)memory, BYTES};
    if (process_vm_readv(pid, &local, 1, &remote, 1, 0) < 0) fail("process_vm_readv");
    if (ptrace(PTRACE_DETACH, pid, 0, 0)) fail("PTRACE_DETACH");
}

int main(int count, char **arguments) {
    if (count != 6) return 2;
    int calls = !strcmp(arguments[1], "calls"), pid = atoi(arguments[2]);
    double period = NANOSECONDS / atof(arguments[3]);
    long long begin = now(), end = begin + (long long)(NANOSECONDS * atof(arguments[4])), taken = 0;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", pid, pid);
    int state = open(path, O_RDONLY);
    if (state < 0) fail(path);
    unsigned long memory = memory_of(pid);
    prctl(PR_SET_TIMERSLACK, 1);
    for (double due = begin;; due += period) {
        long long before = now();
        if (due >= end || before >= end) break;
        if (due < before - period) due = before; /* What is late is not made up for. */
        struct timespec until = {(long long)due / NANOSECONDS, (long long)due % NANOSECONDS};
        if (due > before) clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        if (calls) sample(pid, state, memory);
        taken++;
    }
    FILE *output = fopen(arguments[5], "w");
    if (!output || fprintf(output, "%lld\n", taken) < 0 || fclose(output)) fail(arguments[5]);
    return 0;
}
