"""The system calls that a container may make, as the engine takes a seccomp profile.

What ordinary programs need: files, memory, processes, threads, time, sockets of the internet's families and of UNIX.
Not among them: ptrace and the memory of other processes, the kernel's keys, bpf, io_uring, user faults, performance
counters, mounts, namespaces, modules, clocks, and every kind of socket besides.
"""

import json
from typing import Any

__all__ = ["seccomp_profile"]

_EPERM, _ENOSYS = 1, 38
_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, and NEWTIME's place in clone3 only.
_NEW_NAMESPACES = 0x7E020000
_FILE_TYPE, _PIPE, _PLAIN_FILE = 0o170000, 0o010000, 0o100000
_ALLOWED = """
accept accept4 access alarm arch_prctl bind brk capget capset chdir chmod chown clock_getres clock_gettime
clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl
epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64
fallocate fchdir fchmod fchmodat fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fork fstat fstatfs fsync
ftruncate futex futex_waitv get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid geteuid getgid
getgroups getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit
getrusage getsid getsockname getsockopt gettid gettimeofday getuid getxattr inotify_add_watch inotify_init
inotify_init1 inotify_rm_watch ioctl kill lchown lgetxattr link linkat listen listxattr llistxattr lseek lstat madvise
membarrier memfd_create mincore mkdir mkdirat mlock mlock2 mlockall mmap mprotect mremap msync munlock munlockall
munmap nanosleep newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 poll ppoll prctl pread64
preadv preadv2 prlimit64 pselect6 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recvfrom recvmmsg
recvmsg rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min
sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity
sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select sendfile sendmmsg sendmsg sendto
set_robust_list set_thread_area set_tid_address setfsgid setfsuid setgid setgroups setitimer setpgid setpriority
setregid setresgid setresuid setreuid setrlimit setsid setsockopt setuid shutdown sigaltstack signalfd signalfd4
splice stat statfs statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create
timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime times tkill
truncate umask uname unlink unlinkat utime utimensat utimes vfork wait4 waitid write writev
"""


def seccomp_profile() -> str:
    """The profile, as JSON."""
    return json.dumps(
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": _EPERM,
            # Not those of 32 bits: there one call makes sockets of every kind, and no filter sees of which.
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
            "syscalls": [
                _allow(*_ALLOWED.split()),
                *(_allow("socket", where=[_equals(0, family)]) for family in _FAMILIES),
                _allow("socketpair", where=[_equals(0, _AF_UNIX)]),
                _allow("clone", where=[_masked(0, _NEW_NAMESPACES, 0)]),
                # Pipes with a name, and plain files; no devices.
                *(
                    _allow(name, where=[_masked(index, _FILE_TYPE, kind)])
                    for name, index in (("mknod", 1), ("mknodat", 2))
                    for kind in (_PIPE, _PLAIN_FILE)
                ),
                # Its flags are in memory, where no filter sees them; libraries then take clone.
                {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS},
            ],
        }
    )


_FAMILIES = (_AF_UNIX, _AF_INET, _AF_INET6)


def _allow(*names: str, where: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"names": list(names), "action": "SCMP_ACT_ALLOW", "args": where or []}


def _equals(argument: int, value: int) -> dict[str, Any]:
    return {"index": argument, "value": value, "op": "SCMP_CMP_EQ"}


def _masked(argument: int, bits: int, value: int) -> dict[str, Any]:
    """Those of its bits are as in `value`."""
    return {"index": argument, "value": bits, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}
