//! When and where a process runs, and where its memory is: sched(7), numa(7).

use super::{Sys, check};

/// Lets this process run on every CPU that its cgroup allows. An engine is often pinned to a few
/// CPUs, and its containers should not inherit that. The kernel reduces the mask to the CPUs that
/// exist and to those of the cpuset; since Linux 6.2 it also remembers the mask for when the cpuset
/// grows later. sched_setaffinity(2).
///
/// If the kernel or a seccomp filter refuses the call, the caller's CPUs stay, which is not a
/// reason to fail.
pub fn use_every_cpu() {
    // No kernel supports more than 8192 CPUs.
    let _ = set_cpus(0, &[u64::MAX; 8192 / 64]);
}

/// sched_setaffinity(2) of the process `pid`, 0 for this one.
///
/// # Errors
/// The host, or the cgroup of the process, has none of the CPUs.
pub fn set_cpus(pid: i32, mask: &[u64]) -> Sys<()> {
    let (size, mask) = (size_of_val(mask), mask.as_ptr());
    // SAFETY: the kernel reads at most `size` bytes.
    let done = unsafe { libc::syscall(libc::SYS_sched_setaffinity, pid, size, mask) };
    check("sched_setaffinity", done).map(drop)
}

/// ioprio_set(2) of this process. `priority` is the class above 13 bits of data.
///
/// # Errors
/// The class is a privileged one; or the kernel has no I/O scheduling.
pub fn set_io_priority(priority: i32) -> Sys<()> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    // SAFETY: no argument is a pointer.
    let done = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, priority) };
    check("ioprio_set", done).map(drop)
}

/// sched_setattr(2) of this process. `deadlines` are runtime, deadline and period.
///
/// # Errors
/// The policy or the priority is a privileged one; or the CPUs have no room for the deadlines.
pub fn set_scheduler(
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    deadlines: [u64; 3],
) -> Sys<()> {
    /// `struct sched_attr` in its first version.
    #[repr(C)]
    struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        deadlines: [u64; 3],
    }
    let attributes = Attributes {
        size: size_of::<Attributes>() as u32,
        policy,
        flags,
        nice,
        priority,
        deadlines,
    };
    // SAFETY: the structure has the size that it states.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &attributes, 0) };
    check("sched_setattr", done).map(drop)
}

/// set_mempolicy(2) of this process. `nodes` is a bit mask.
///
/// # Errors
/// The host, or the cgroup of the process, has none of the nodes; or the kernel lacks the mode.
pub fn set_memory_policy(mode: i32, nodes: &[u64]) -> Sys<()> {
    // The kernel reads one bit less than the number says.
    let bits = size_of_val(nodes) * 8 + 1;
    // SAFETY: the mask has one bit less than `bits`.
    let done = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, nodes.as_ptr(), bits) };
    check("set_mempolicy", done).map(drop)
}
