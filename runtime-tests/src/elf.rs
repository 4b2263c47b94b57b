//! The headers of an ELF file. elf(5); the generic ABI, chapters 4 and 5.

use std::ops::Range;

/// Segment types, flags of segments, and entries of the dynamic section.
pub const PT_LOAD: u32 = 1;
pub const PT_DYNAMIC: u32 = 2;
pub const PT_INTERP: u32 = 3;
pub const PT_GNU_STACK: u32 = 0x6474_e551;
pub const PT_GNU_RELRO: u32 = 0x6474_e552;
pub const PF_X: u32 = 1;
pub const PF_W: u32 = 2;
pub const DT_NEEDED: u64 = 1;
pub const DT_RELA: u64 = 7;
pub const DT_RELASZ: u64 = 8;
pub const DT_TEXTREL: u64 = 22;
pub const DT_FLAGS: u64 = 30;
pub const DF_TEXTREL: u64 = 4;
pub const DF_BIND_NOW: u64 = 8;
pub const DT_RELRSZ: u64 = 35;
pub const DT_RELR: u64 = 36;
pub const DT_FLAGS_1: u64 = 0x6fff_fffb;
pub const DF_1_PIE: u64 = 0x0800_0000;

/// The type of a file that can be loaded at any address.
pub const ET_DYN: u16 = 3;

/// A little-endian 64-bit ELF file.
pub struct Elf {
    bytes: Vec<u8>,
    /// `ET_…`.
    pub kind: u16,
    /// The file offset of the program headers.
    pub headers_offset: u64,
    pub segments: Vec<Segment>,
}

/// A program header.
#[derive(Clone, Debug)]
pub struct Segment {
    pub kind: u32,
    pub flags: u32,
    pub offset: u64,
    pub file_size: u64,
    /// Its addresses in memory, relative to the start of the program.
    pub memory: Range<u64>,
}

impl Elf {
    /// Parses the headers. Panics if the file is damaged, or has another class or byte order.
    #[track_caller]
    pub fn parse(bytes: Vec<u8>) -> Self {
        assert!(
            bytes.starts_with(b"\x7fELF\x02\x01"),
            "a little-endian 64-bit ELF file"
        );
        let headers_offset = number(&bytes, 32, 8);
        let (size, count) = (number(&bytes, 54, 2), number(&bytes, 56, 2));
        let segments =
            (0..count).map(|index| Segment::parse(&bytes, headers_offset + index * size));
        Self {
            kind: number(&bytes, 16, 2) as u16,
            headers_offset,
            segments: segments.collect(),
            bytes,
        }
    }

    /// The segments of one type.
    pub fn segments_of(&self, kind: u32) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(move |one| one.kind == kind)
    }

    /// The values of one tag in the dynamic section.
    pub fn dynamic(&self, tag: u64) -> Vec<u64> {
        let Some(section) = self.segments_of(PT_DYNAMIC).next() else {
            return Vec::new();
        };
        let end = section.offset + section.file_size;
        (section.offset..end)
            .step_by(16)
            .map(|at| (number(&self.bytes, at, 8), number(&self.bytes, at + 8, 8)))
            .take_while(|(found, _)| *found != 0)
            .filter_map(|(found, value)| (found == tag).then_some(value))
            .collect()
    }

    /// Whether an entry of the dynamic section with this tag has all these bits set.
    pub fn has_flags(&self, tag: u64, flags: u64) -> bool {
        self.dynamic(tag).iter().any(|found| found & flags == flags)
    }

    /// The addresses that the program's start relocates.
    pub fn relocated(&self) -> Vec<u64> {
        let mut places: Vec<u64> = self
            .table(DT_RELA, DT_RELASZ)
            .step_by(24)
            .map(|at| number(&self.bytes, at, 8))
            .collect();
        // An even word is an address; an odd word has a bit for each of the 63 words that follow.
        let mut next = 0;
        for at in self.table(DT_RELR, DT_RELRSZ).step_by(8) {
            let word = number(&self.bytes, at, 8);
            if word & 1 == 0 {
                places.push(word);
                next = word + 8;
            } else {
                places.extend(
                    (0..63)
                        .filter(|bit| word >> (bit + 1) & 1 == 1)
                        .map(|bit| next + bit * 8),
                );
                next += 63 * 8;
            }
        }
        places
    }

    /// The file offsets of a table of the dynamic section.
    fn table(&self, address: u64, size: u64) -> Range<u64> {
        let (Some(address), Some(size)) = (
            self.dynamic(address).first().copied(),
            self.dynamic(size).first().copied(),
        ) else {
            return 0..0;
        };
        let segment = self
            .segments_of(PT_LOAD)
            .find(|one| one.memory.contains(&address));
        let segment = segment.expect("a segment with the table");
        let start = segment.offset + (address - segment.memory.start);
        start..start + size
    }
}

impl Segment {
    fn parse(bytes: &[u8], at: u64) -> Self {
        let word = |offset, length| number(bytes, at + offset, length);
        let address = word(16, 8);
        Self {
            kind: word(0, 4) as u32,
            flags: word(4, 4) as u32,
            offset: word(8, 8),
            file_size: word(32, 8),
            memory: address..address + word(40, 8),
        }
    }
}

/// A little-endian number.
#[track_caller]
fn number(bytes: &[u8], at: u64, length: usize) -> u64 {
    let bytes = bytes.get(at as usize..).and_then(|rest| rest.get(..length));
    let bytes = bytes.expect("the file is shorter than its headers say");
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}
