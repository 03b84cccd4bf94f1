/* Watches the steps by which a process makes something durable or visible below one directory,
 * and ends, fails or belies one of them. Loaded with LD_PRELOAD; `testing/src/steps.rs` compiles
 * it, sets its environment and reads its journal.
 *
 * It does not interpose functions of the C library, since Rust crates also make system calls of
 * their own. A seccomp filter turns each system call of interest into SIGSYS, whoever makes it,
 * except those made by the one instruction in `steps_raw`; the handler makes the call, or does
 * not. One lock is held from before a step until it is in the journal, so the journal's order is
 * what happened.
 *
 *   STEPS_UNDER    the directory, absolute, without a slash at its end
 *   STEPS_JOURNAL  a file elsewhere that gets a line a step: call, outcome, path, second path,
 *                  offset, bytes, grave; separated by tabs, paths relative, `-` where there is
 *                  none
 *   STEPS_GRAVES   a directory elsewhere on the same file system, for links to what is removed
 *   STEPS_ACTION   before, after, torn, full, fail, lie; `watch` only watches
 *   STEPS_AT       the number of the matching step at which it acts, from 1. `full`, `fail` and
 *                  `lie` act on all that follow, too
 *   STEPS_CALL     the name of the call that matches, or `*`
 *   STEPS_KIND     a pattern of fnmatch(3) for a part of the path between slashes each, or `*`
 *                  for any path; words with digits, and what follows `tmp`, are `#`
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

long steps_raw(long number, long a, long b, long c, long d, long e, long f);
extern const char steps_raw_made[];

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
__asm__(".text\n.globl steps_raw\n.hidden steps_raw\n.type steps_raw,@function\nsteps_raw:\n"
        "mov %rdi,%rax\nmov %rsi,%rdi\nmov %rdx,%rsi\nmov %rcx,%rdx\nmov %r8,%r10\nmov %r9,%r8\n"
        "mov 8(%rsp),%r9\nsyscall\n.globl steps_raw_made\n.hidden steps_raw_made\n"
        "steps_raw_made:\nret\n");
#define ARGUMENT(context, n) ((long)(context)->uc_mcontext.gregs[registers[n]])
#define RESULT(context) ((context)->uc_mcontext.gregs[REG_RAX])
static const int registers[] = {REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9};
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
__asm__(".text\n.globl steps_raw\n.hidden steps_raw\n.type steps_raw,%function\nsteps_raw:\n"
        "mov x8,x0\nmov x0,x1\nmov x1,x2\nmov x2,x3\nmov x3,x4\nmov x4,x5\nmov x5,x6\nsvc #0\n"
        ".globl steps_raw_made\n.hidden steps_raw_made\nsteps_raw_made:\nret\n");
#define ARGUMENT(context, n) ((long)(context)->uc_mcontext.regs[n])
#define RESULT(context) ((context)->uc_mcontext.regs[0])
#else
#error "the registers of system calls on this machine are not known here"
#endif

/* What the filter asks about, beside those that not every machine has. */
static const unsigned short watched[] = {
#ifdef SYS_open
    SYS_open, SYS_creat, SYS_rename, SYS_link, SYS_unlink, SYS_mkdir, SYS_rmdir,
#endif
#ifdef SYS_renameat
    SYS_renameat,
#endif
    SYS_openat, SYS_write, SYS_pwrite64, SYS_writev, SYS_pwritev, SYS_fsync, SYS_fdatasync,
    SYS_renameat2, SYS_linkat, SYS_unlinkat, SYS_mkdirat, SYS_ftruncate,
};

enum action { WATCH, BEFORE, AFTER, TORN, FULL, FAIL, LIE };
static const char *const actions[] = {"watch", "before", "after", "torn", "full", "fail", "lie"};

static char under[PATH_MAX], graves[PATH_MAX], wanted_call[32], wanted_kind[PATH_MAX];
static enum action action;
static unsigned long at, matched, buried;
static int journal = -1;
static int locked;

/* A path below the directory. */
struct place {
    char full[PATH_MAX];
    const char *below;
};

/* One step, while it is taken. */
struct step {
    const char *call;
    struct place place, second;
    long offset, bytes;
    char grave[32];
    long number, arguments[6];
};

static void lock(void) {
    while (__atomic_exchange_n(&locked, 1, __ATOMIC_ACQUIRE))
        steps_raw(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}

static void unlock(void) { __atomic_store_n(&locked, 0, __ATOMIC_RELEASE); }

static void end_of_process(void) {
    steps_raw(SYS_kill, steps_raw(SYS_getpid, 0, 0, 0, 0, 0, 0), SIGKILL, 0, 0, 0, 0);
    for (;;) steps_raw(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}

/* Says whether a full path is below the directory, and where. */
static int find(struct place *place) {
    size_t length = strlen(under);
    if (strncmp(place->full, under, length) != 0) return 0;
    if (place->full[length] == 0) {
        place->below = ".";
        return 1;
    }
    place->below = place->full + length + 1;
    return place->full[length] == '/';
}

static int of_file(long fd, struct place *place) {
    char link[40] = "/proc/self/fd/", digits[16];
    size_t end = strlen(link), count = 0;
    if (fd < 0) return 0;
    do digits[count++] = (char)('0' + fd % 10);
    while ((fd /= 10) > 0);
    while (count > 0) link[end++] = digits[--count];
    link[end] = 0;
    char *full = place->full;
    long length = steps_raw(SYS_readlinkat, AT_FDCWD, (long)link, (long)full, PATH_MAX - 1, 0, 0);
    if (length <= 0) return 0;
    place->full[length] = 0;
    /* What has no name any more is not visible, and will not be. */
    return strstr(place->full, " (deleted)") == NULL && find(place);
}

static int of_name(long folder, const char *name, struct place *place) {
    size_t length = 0;
    if (name[0] != '/') {
        if (folder == AT_FDCWD) {
            if (steps_raw(SYS_getcwd, (long)place->full, PATH_MAX, 0, 0, 0, 0) <= 0) return 0;
            find(place);
        } else if (!of_file(folder, place)) {
            return 0;
        }
        length = strlen(place->full);
        place->full[length++] = '/';
    }
    if (length + strlen(name) >= PATH_MAX) return 0;
    strcpy(place->full + length, name);
    for (size_t end = strlen(place->full); end > 1 && place->full[end - 1] == '/';)
        place->full[--end] = 0;
    return find(place);
}

static int is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static int is_digit(char c) { return c >= '0' && c <= '9'; }

/* Writes a path with `#` for what is another in every run; `steps.rs` does the same. */
static void kind_of(const char *path, char *kind) {
    while (*path != 0) {
        size_t length = 0;
        int digits = 0;
        for (; is_letter(path[length]) || is_digit(path[length]); length++)
            digits |= is_digit(path[length]);
        if (length > 3 && strncmp(path, "tmp", 3) == 0) {
            strcpy(kind, "tmp#");
            kind += 4;
        } else if (digits) {
            *kind++ = '#';
        } else {
            memcpy(kind, path, length);
            kind += length;
        }
        path += length;
        if (length == 0) *kind++ = *path++;
    }
    *kind = 0;
}

static int is(const struct step *step, const char *call) { return strcmp(step->call, call) == 0; }

static int matches(const struct step *step) {
    char kind[PATH_MAX];
    const char *path = step->second.below != NULL ? step->second.below : step->place.below;
    kind_of(path, kind);
    return (wanted_call[0] == '*' || is(step, wanted_call)) &&
           (strcmp(wanted_kind, "*") == 0 || fnmatch(wanted_kind, kind, FNM_PATHNAME) == 0);
}

static char *put(char *to, const char *text) {
    size_t length = strlen(text);
    memcpy(to, text, length);
    to[length] = '\t';
    return to + length + 1;
}

static char *put_number(char *to, long number) {
    char digits[24];
    size_t count = 0;
    if (number < 0) number = 0;
    do digits[count++] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    while (count > 0) *to++ = digits[--count];
    *to = '\t';
    return to + 1;
}

static void note(const struct step *step, const char *outcome) {
    char line[2 * PATH_MAX + 256], *end = line;
    end = put(end, step->call);
    end = put(end, outcome);
    end = put(end, step->place.below);
    end = put(end, step->second.below != NULL ? step->second.below : "-");
    end = put_number(end, step->offset);
    end = put_number(end, step->bytes);
    end = put(end, step->grave[0] != 0 ? step->grave : "-");
    end[-1] = '\n';
    steps_raw(SYS_write, journal, (long)line, end - line, 0, 0, 0);
}

/* Keeps what a step is about to remove, so that a power cut can bring it back. */
static void bury(struct step *step, const char *path) {
    char grave[PATH_MAX], *end = put_number(step->grave, (long)++buried);
    end[-1] = 0;
    strcpy(grave, graves);
    strcat(grave, "/");
    strcat(grave, step->grave);
    if (steps_raw(SYS_linkat, AT_FDCWD, (long)path, AT_FDCWD, (long)grave, 0, 0) != 0)
        step->grave[0] = 0;
}

static long make(const struct step *step) {
    const long *a = step->arguments;
    return steps_raw(step->number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static int is_write(const struct step *step) { return is(step, "write"); }

static int takes_room(const struct step *step) {
    return is_write(step) || is(step, "create") || is(step, "mkdir") || is(step, "link") ||
           (is(step, "truncate") && step->bytes > 0);
}

/* Writes the first half of what a step would write. */
static long write_half(struct step *step) {
    long fd = step->arguments[0], bytes = step->arguments[2];
    const void *from = (const void *)step->arguments[1];
    if (step->number == SYS_writev || step->number == SYS_pwritev) {
        const struct iovec *first = from;
        from = first->iov_base;
        bytes = (long)first->iov_len;
    }
    /* No write says that it has written nothing. */
    if (bytes < 2 && action == FULL) return -ENOSPC;
    if (step->number == SYS_pwrite64 || step->number == SYS_pwritev)
        return steps_raw(SYS_pwrite64, fd, (long)from, bytes / 2, step->arguments[3], 0, 0);
    return steps_raw(SYS_write, fd, (long)from, bytes / 2, 0, 0, 0);
}

static void measure(struct step *step, long written) {
    step->bytes = written;
    if (step->number == SYS_pwrite64 || step->number == SYS_pwritev)
        step->offset = step->arguments[3];
    else
        step->offset = steps_raw(SYS_lseek, step->arguments[0], 0, SEEK_CUR, 0, 0, 0) - written;
}

/* Takes a step, or does what is to be done instead. */
static long take(struct step *step) {
    int matching = matches(step);
    unsigned long number = matching ? ++matched : 0;
    int now = number == at, since = matching && at > 0 && number >= at;
    now &= matching;
    if (now && action == BEFORE) {
        note(step, "before");
        end_of_process();
    }
    if (since && action == FAIL) {
        note(step, "refused");
        return -EIO;
    }
    if (since && action == LIE && is(step, "sync")) {
        note(step, "lied");
        return 0;
    }
    if (since && action == FULL && takes_room(step) && !(now && is_write(step))) {
        note(step, "refused");
        return -ENOSPC;
    }
    /* A full volume takes what there is still room for. */
    int half = now && is_write(step) && (action == TORN || action == FULL);
    long result = half ? write_half(step) : make(step);
    if (is_write(step)) measure(step, result);
    if (result < 0) {
        note(step, "failed");
        return result;
    }
    if (now && (action == AFTER || action == TORN)) {
        note(step, action == TORN && half ? "torn" : "after");
        end_of_process();
    }
    note(step, "done");
    return result;
}

static int look(const char *path, struct stat *found) {
    long flags = AT_SYMLINK_NOFOLLOW;
    return steps_raw(SYS_newfstatat, AT_FDCWD, (long)path, (long)found, flags, 0, 0) == 0;
}

/* Whether nothing is at a place where something can be made. */
static int is_free(const struct place *place) {
    char folder[PATH_MAX];
    struct stat found;
    strcpy(folder, place->full);
    *strrchr(folder, '/') = 0;
    return look(folder, &found) && !look(place->full, &found);
}

/* Finds out whether a system call is a step, and fills it in. */
static int is_step(struct step *step) {
    long *a = step->arguments;
    long from = AT_FDCWD, to = AT_FDCWD, flags = O_TRUNC;
    const char *name = (const char *)a[0], *second = (const char *)a[1];
    switch (step->number) {
    case SYS_write: case SYS_pwrite64: case SYS_writev: case SYS_pwritev:
        step->call = "write";
        return of_file(a[0], &step->place);
    case SYS_fsync: case SYS_fdatasync:
        step->call = "sync";
        return of_file(a[0], &step->place);
    case SYS_ftruncate:
        step->call = "truncate";
        step->bytes = a[1];
        return of_file(a[0], &step->place);
#ifdef SYS_open
    case SYS_open:
        flags = a[1];
        if (!(flags & (O_CREAT | O_TRUNC))) return 0;
        break;
    case SYS_creat: case SYS_mkdir: case SYS_unlink: case SYS_rmdir: case SYS_rename: case SYS_link:
        break;
#endif
    case SYS_openat:
        flags = a[2];
        if (!(flags & (O_CREAT | O_TRUNC))) return 0;
        /* fall through */
    default:
        from = (int)a[0];
        name = (const char *)a[1];
        to = (int)a[2];
        second = (const char *)a[3];
    }
    if (!of_name(from, name, &step->place)) return 0;
    struct stat found;
    int exists = look(step->place.full, &found);
    switch (step->number) {
#ifdef SYS_open
    case SYS_open: case SYS_creat:
#endif
    case SYS_openat:
        step->call = "create";
        if (!exists) return is_free(&step->place);
        step->call = "truncate";
        return flags & O_TRUNC && found.st_size > 0;
#ifdef SYS_open
    case SYS_mkdir:
#endif
    case SYS_mkdirat:
        step->call = "mkdir";
        return is_free(&step->place);
#ifdef SYS_open
    case SYS_rmdir: case SYS_unlink:
#endif
    case SYS_unlinkat:
        step->call = exists && S_ISDIR(found.st_mode) ? "rmdir" : "unlink";
        return exists;
    default:
        break;
    }
    int links = step->number == SYS_linkat;
#ifdef SYS_open
    links |= step->number == SYS_link;
#endif
    step->call = links ? "link" : "rename";
    return exists && of_name(to, second, &step->second) && (!links || is_free(&step->second));
}

static void on_call(int signal, siginfo_t *info, void *opaque) {
    (void)signal;
    int kept = errno;
    ucontext_t *context = opaque;
    struct step step = {.number = info->si_syscall};
    for (int n = 0; n < 6; n++) step.arguments[n] = ARGUMENT(context, n);
    lock();
    if (is_step(&step)) {
        if (is(&step, "unlink")) bury(&step, step.place.full);
        if (is(&step, "rename")) bury(&step, step.second.full);
        RESULT(context) = take(&step);
        unlock();
    } else {
        /* Without the lock: to write to a pipe or a socket may take until another thread reads. */
        unlock();
        RESULT(context) = make(&step);
    }
    errno = kept;
}

static void filter(void) {
    enum { COUNT = sizeof watched / sizeof watched[0], ALLOW = COUNT + 7, LENGTH = COUNT + 9 };
    struct sock_filter code[LENGTH];
    uint64_t made = (uint64_t)(uintptr_t)steps_raw_made;
    unsigned char n = 0;
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, field)
#define SKIP(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define POINTER offsetof(struct seccomp_data, instruction_pointer)
    code[n++] = (struct sock_filter)LOAD(offsetof(struct seccomp_data, arch));
    code[n++] = (struct sock_filter)SKIP(ARCHITECTURE, 0, ALLOW - 2);
    /* Both halves of the pointer, in the order of a little-endian machine. */
    code[n++] = (struct sock_filter)LOAD(POINTER);
    code[n++] = (struct sock_filter)SKIP((uint32_t)made, 0, 2);
    code[n++] = (struct sock_filter)LOAD(POINTER + 4);
    code[n++] = (struct sock_filter)SKIP((uint32_t)(made >> 32), ALLOW - 6, 0);
    code[n++] = (struct sock_filter)LOAD(offsetof(struct seccomp_data, nr));
    for (unsigned char i = 0; i < COUNT; i++)
        code[n++] = (struct sock_filter)SKIP(watched[i], (unsigned char)(COUNT - i), 0);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
    struct sock_fprog program = {.len = LENGTH, .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        abort();
}

static const char *setting(const char *name) {
    const char *value = getenv(name);
    if (value == NULL || strlen(value) >= PATH_MAX) abort();
    return value;
}

__attribute__((constructor)) static void begin(void) {
    if (getenv("STEPS_UNDER") == NULL) return;
    strcpy(under, setting("STEPS_UNDER"));
    strcpy(graves, setting("STEPS_GRAVES"));
    strncpy(wanted_call, setting("STEPS_CALL"), sizeof wanted_call - 1);
    strcpy(wanted_kind, setting("STEPS_KIND"));
    at = strtoul(setting("STEPS_AT"), NULL, 10);
    while (strcmp(actions[action], setting("STEPS_ACTION")) != 0)
        if (++action > LIE) abort();
    journal = open(setting("STEPS_JOURNAL"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (journal < 0) abort();
    struct sigaction wanted = {.sa_sigaction = on_call, .sa_flags = SA_SIGINFO};
    if (sigaction(SIGSYS, &wanted, NULL) != 0) abort();
    filter();
}
