//! The own recording: a file that keeps every sample, written while it is recorded, read as often as one likes. Parts of
//! it, several of them together, and collapsed stacks of others can be gone through in the same way. Other formats are made
//! from it by [`crate::export`]; what is recorded and when it is to be safe is left to the program.
//!
//! ```no_run
//! use pysample::recording::Reader;
//! use pysample::sample::Event;
//!
//! let reader = Reader::open("run.pysample".as_ref())?;
//! for event in reader.events() {
//!     if let Event::Sample(sample) = event? {
//!         println!("{:?} {:?}", sample.at, sample.state);
//!     }
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # The file, byte by byte
//!
//! A file is `89 50 59 53 4d 50 4c 0a` (`\x89PYSMPL\n`), the version of the format (4 bytes, now 4), then blocks. Numbers
//! of a fixed size are little-endian. A reader refuses versions that it does not know; what versions 1 to 3 say stays
//! readable: where they differ is said below.
//!
//! **Block.** Each is whole in itself as far as its bytes go, so that a file that ends anywhere has everything up to its
//! last whole block:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | kind: `H` header, `D` data, `E` end |
//! | 4 | length of the content as stored, up to 64 MiB |
//! | 4 | length of the content, up to 64 MiB |
//! | 4 | CRC-32 (IEEE) of the content as stored |
//! | 4 | CRC-32 of the 13 bytes before |
//! | … | the content as stored: in `H` and `E` the content itself; of `D` see below |
//!
//! `H` is first: [`Header`] as JSON, `started` as `secs_since_epoch` and `nanos_since_epoch`. Any number of `D` follow. `E` is
//! last and says why the recording ended, `{"ending": "duration"}` by the names of [`Ending`]; a file without it was not
//! finished. Keys that are not known are left alone. In a file without an end whatever does not go with its checksum, and all
//! that follows it, is taken for what was not written when the machine went down: zeros, or what was there before.
//!
//! **Number.** A varint is LEB128: 7 bits a byte, least significant first, the top bit set in all bytes but the last.
//! Signed differences are zigzag: 0, -1, 1, -2 are 0, 1, 2, 3. A *text* is the number of its bytes and UTF-8.
//!
//! **Data.** Stored in `D` are a varint: the number of bytes that follow of the frame, these, and what is packed. The frame is one
//! of zstd that goes on from `D` to `D` (window of 256 KiB), flushed. In it are a byte of flags (bit 0: the table of strings
//! begins anew), the number of strings that are new and each of them as a text (they get the next numbers, from 0), and
//! definitions; of a block without any of these there is nothing in the frame. Packed are eight columns of bytes and then the
//! moments. The length of the content is that of what is in the frame and of the columns.
//!
//! | | what | bits | depends on |
//! |---|---|---|---|
//! | definitions | the events of kinds 0 to 5, 8 and 9 one after another | | |
//! | order | the kind of each event | 4 | two |
//! | flags | a byte for each thread sample | 4 | two |
//! | threads | of thread samples, see below | 8 | one |
//! | states | the same | 8 | one |
//! | recent | the same | 8 | none |
//! | stacks | the same | 8 | none |
//! | gils | of GIL samples, see below | 8 | two |
//! | weights | of weights, see below | 8 | one |
//!
//! **Packed** is what remains of bits after arithmetic coding. It begins with an interval from 0 to 2^32 - 1, low and high. A bit
//! that is set means that the interval ends in the middle, one that is not, that it begins after it; whenever the first bytes
//! of low and high are the same, that one is written, both are shifted by it, and 0 and 255 follow in them. In the end a byte is
//! written, one more than the first of low, if low is not 0; what follows counts as zeros. The middle is
//! low + ⌊(high - low) / 4096⌋ · ⌊c / 16⌋, where *c* is the bit's chance: 32768 at first, and after the bit was seen *n* times (30 at
//! most) it goes up by ⌊(65536 - c) / (n + 2)⌋ if it is set, down by ⌊c / (n + 2)⌋ if not. An *even* bit has no chance: the
//! middle is low + ⌊(high - low) / 2⌋. Numbers of such bits have the highest first.
//!
//! A *symbol* of so many bits has the highest first. A bit's chance is that after the same context and the same higher bits of the
//! symbol. Chances and contexts are remembered from block to block.
//!
//! - Each column is its length in bytes, a varint, and its bytes as symbols. The context of a byte of the column's length is
//!   twice the number of the column (order is 0, weights 7), and 1 more for all bytes but the first. That of a symbol is 0, or the
//!   last of the column, or the last but one with its halves swapped, XOR the last (before the first they are 0).
//! - The moments are their number as if it were the length of column 8, at most 2^20, and each of them in microseconds since the
//!   recording began, by the slots of its clock. Slot *k* begins at ⌈k · 10^9 / r⌉, *r* being the rate of the header times 1000, a
//!   whole number from 1 to 10^9. A bit that is set says that it is in the slot after that of the last one (at first, after
//!   slot 0); it has a chance after such a bit and one after others. Else a symbol of 8 bits says how many slots later it is, or
//!   255, that 64 even bits do; its context is what the last one said, be it by a bit (1) or a symbol (at first 0). Then comes how
//!   far it is from where its slot begins, in as many bits as it takes in the longest slot: the highest 6 as a symbol without
//!   context, the others one by one, with a chance for each place.
//!
//! In version 3 there are no weights: there are seven columns, and the number of moments is told as the length of column 7.
//!
//! In versions 1 and 2 all is in the frame, and its length is that of the content: flags, strings, and nine columns, each with its
//! length in bytes first: order, as runs `number * 16 + kind`, definitions, flags, threads, states, recent, stacks, gils, and
//! times. Times are empty where there are no moments, else a byte *k* below 64, a varint: the first
//! moment since the recording began, and bits, the lowest of a byte first: for each of the others the step from the one
//! before as as many ones as it has times 2^*k*, a zero, and the *k* lowest bits of it, the lowest first; or, where that
//! would be 20 ones or more, as 20 ones and all of its 64 bits. There, the first sample of a block always is the first of a moment.
//!
//! The kinds of events, their parts being varints where nothing else is said:
//!
//! | kind | event | parts |
//! |---|---|---|
//! | 0 | process | id, pid, own pid, parent (0: none, else id + 1), number of arguments, each as a text, Python's version as a text |
//! | 1 | code | id, function and file (numbers in the table of strings), first line |
//! | 2 | frame | id, code, line (0: not known, else line + 1) |
//! | 3 | stack | id, caller (0: none, else 1 + the zigzag difference id - caller), frame |
//! | 4 | thread | id, process, interpreter (zigzag), OS thread id (0: not known, else id + 1), Python thread id, name (0: none, else 1 + number of bytes, then UTF-8) |
//! | 5 | search path | number of entries, each as a text |
//! | 6 | GIL sample | in column gils |
//! | 7 | thread sample | in columns flags to stacks |
//! | 8 | progress | see below |
//! | 9 | remark | 0: cannot pause, 1: stretched, 2: spared |
//! | 10 | weight | in column weights |
//!
//! The ids of code, frames and stacks, the code of a frame and the frame of a stack are zigzag differences: an id from the
//! one after the last that was defined of its kind in the block, the others from the last of theirs in the block; both begin
//! with 0.
//!
//! **Progress** is the time that elapsed and the fields of [`Tally`]: elapsed, asked, taken, late, failed, dropped, torn,
//! unmapped, invalid, truncated, reads, stretched; count, total, median and longest of the stops; kept, found, proved, open
//! and doubtful of the mixing; own CPU; spared; stood for (0 before version 4). Times are in nanoseconds. It is a mask of those that changed since the last progress
//! of the file (bit 0: elapsed), then for each of these the zigzag difference. Of what was told only the last of five seconds
//! is kept, and the very last, each at the end of its block.
//!
//! **Weight.** A varint, from 1 to 2^32 - 1: for so many slots of the clock ([`Weight`]) each of the thread samples and GIL samples stands that
//! follow, up to the next weight. Before the first in the file it is 1, as it always is before version 4.
//!
//! **Thread sample.** What is as expected takes no room. The flags say what is not: bit 0, it is the first of a moment (take
//! the next of the moments); bit 1, its thread is another (take from threads); bit 2, so is its state (take a byte from states:
//! `GilState * 32 + ThreadState` by their order); bit 3, so is its stack (take a byte from recent). Expected is, all within
//! the file: the thread that came last time after what comes before, which is the last GIL sample's holder, or if a thread
//! sample came since, its thread, or if this is the first of a moment, nothing; else, after a holder that is a thread, that
//! one; else 0. And the state that this thread had the last time it was the holder of the last GIL sample, if it is, or was
//! not, if it is not, else 0; and the stack that it had the last time, else none. Before a sample at which 65536 threads are
//! known that something came after, or states or stacks of threads, all three are forgotten. In version 1 it is the same
//! within a block, as if there were no GIL samples.
//! A byte from recent says how many other stacks were taken since the stack was last taken, within the file: 1 is the
//! last one, 2 the one before; 0, it is none of the last 255 (take from stacks: 0 for a thread without frames, else
//! id + 1).
//!
//! **GIL sample.** A byte of flags: bit 0, it is the first of a moment; bit 1, it is spelled in full (process, interpreter
//! (zigzag), owner (zigzag), holder, switches (0: not known, else number + 1), interval (0: not known, else
//! 1 more than its nanoseconds)). Else it is of the GIL that comes after the last one's, in the order in which they were
//! first seen in the file (in version 1, in the block) and from the last to the first (256 are remembered; one more, and they are forgotten), and is like
//! that one's last, but for: bit 2, the holder; bit 3, the zigzag difference of the switches. Bit 4 is set while garbage is
//! collected. A holder is 0: none, there is no GIL; 1: not known; 2: nobody; 3: a thread that is not known; else
//! thread id + 4.

mod block;
mod bytes;
mod coder;
mod collapsed;
mod definitions;
mod filter;
mod gils;
mod merge;
mod opened;
mod packed;
mod parts;
mod reader;
mod rows;
mod tally;
mod times;
mod writer;

pub use collapsed::Collapsed;
pub use filter::{Filter, Filtered};
pub use merge::Merged;
pub use opened::Opened;
pub use reader::{Events, Loss, Reader};
pub use writer::Writer;

#[cfg(doc)]
use crate::sample::{Ending, Header, Tally, Weight};
