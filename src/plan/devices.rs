//! The device allow-list as a BPF_CGROUP_DEVICE program.

/// One eBPF instruction. Source: Documentation/bpf/standardization/instruction-set.rst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Insn {
    pub code: u8,
    /// Destination register in the low nibble, source register in the high one.
    pub registers: u8,
    pub offset: i16,
    pub immediate: i32,
}
