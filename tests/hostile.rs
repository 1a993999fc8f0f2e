//! Hostile memory: whatever a target holds, reading it ends, soon and in bounded memory, and never in a panic.
//!
//! Recorded images are corrupted in places where pysample looks: words become other words, pointers point elsewhere,
//! ranges are cut short.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use proptest::prelude::*;
use pysample::memory::Addr;
use pysample::python;
use pysample::sample::Event;
use pysample::sampler::{self, Pause, Settings, Wanted};
use pysample::target::{Facts, Target};

type Ranges = Vec<(Addr, Vec<u8>)>;

/// The images, as facts and ranges.
fn images() -> &'static [(Facts, Ranges)] {
    static IMAGES: OnceLock<Vec<(Facts, Ranges)>> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images");
        let mut paths: Vec<_> =
            folder.read_dir().expect("there are images").map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "image"));
        paths.sort();
        assert!(paths.len() > 10, "only {} images", paths.len());
        let load = |path: &std::path::PathBuf| {
            let target = Target::open_image(path).expect("an image");
            (target.facts().clone(), target.ranges())
        };
        paths.iter().map(load).collect()
    })
}

/// A change to an image.
#[derive(Clone, Debug)]
enum Harm {
    /// A byte becomes another.
    Byte(prop::sample::Index, u8),
    /// A word becomes a number of a kind that loops and sizes trip over.
    Word(prop::sample::Index, u64),
    /// A word becomes a copy of another, so that pointers point to what they should not, themselves included.
    Copy(prop::sample::Index, prop::sample::Index),
    /// A word becomes the address of a place in the image.
    Point(prop::sample::Index, prop::sample::Index),
    /// A range loses its end.
    Cut(prop::sample::Index, prop::sample::Index),
}

fn harm() -> impl Strategy<Value = Harm> {
    let index = any::<prop::sample::Index>;
    let words = prop_oneof![
        Just(0u64),
        Just(1),
        Just(u64::MAX),
        Just(1 << 63),
        Just(i64::MAX as u64),
        0u64..4096,
        any::<u64>()
    ];
    prop_oneof![
        (index(), any::<u8>()).prop_map(|(at, byte)| Harm::Byte(at, byte)),
        (index(), words).prop_map(|(at, word)| Harm::Word(at, word)),
        (index(), index()).prop_map(|(at, from)| Harm::Copy(at, from)),
        (index(), index()).prop_map(|(at, to)| Harm::Point(at, to)),
        (index(), index()).prop_map(|(range, at)| Harm::Cut(range, at)),
    ]
}

/// The words of an image, by range and offset. Every range counts the same, so that small ones, which are the
/// structures, are harmed as often as large ones.
fn place(ranges: &Ranges, index: prop::sample::Index) -> (usize, usize) {
    let spread = index.index(usize::MAX);
    let range = spread % ranges.len();
    (range, (spread / ranges.len()) % (ranges[range].1.len() / 8).max(1) * 8)
}

fn do_harm(ranges: &mut Ranges, harm: &Harm) {
    let word_at = |ranges: &Ranges, (range, at): (usize, usize)| {
        let bytes = &ranges[range].1;
        bytes.get(at..at + 8).map(|word| u64::from_le_bytes(word.try_into().unwrap()))
    };
    let (target, word) = match *harm {
        Harm::Byte(at, byte) => {
            let (range, at) = place(ranges, at);
            let bytes = &mut ranges[range].1;
            let at = (at + byte as usize % 8).min(bytes.len().saturating_sub(1));
            if let Some(old) = bytes.get_mut(at) {
                *old = byte;
            }
            return;
        }
        Harm::Cut(range, at) => {
            let range = range.index(ranges.len());
            let keep = at.index(ranges[range].1.len().max(1));
            ranges[range].1.truncate(keep);
            return;
        }
        Harm::Word(at, word) => (place(ranges, at), Some(word)),
        Harm::Copy(at, from) => (place(ranges, at), word_at(ranges, place(ranges, from))),
        Harm::Point(at, to) => {
            let (range, offset) = place(ranges, to);
            (place(ranges, at), Some(ranges[range].0.0 + offset as u64))
        }
    };
    if let (Some(word), Some(bytes)) = (word, ranges[target.0].1.get_mut(target.1..target.1 + 8)) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_dump_of_corrupted_memory_ends_and_is_bounded(image in any::<prop::sample::Index>(), harms in prop::collection::vec(harm(), 1..40)) {
        let (facts, ranges) = &images()[image.index(images().len())];
        let mut ranges = ranges.clone();
        harms.iter().for_each(|harm| do_harm(&mut ranges, harm));
        let bytes: usize = ranges.iter().map(|(_, bytes)| bytes.len()).sum();
        let target = Target::from_ranges(facts.clone(), ranges);
        if let Ok(interpreter) = python::locate(&target)
            && let Ok(snapshot) = sampler::snapshot(&target, &interpreter, Wanted::All, Pause::Holder)
        {
            let frames: usize = snapshot.interpreters.iter().flat_map(|i| &i.threads).map(|t| t.frames.len()).sum();
            prop_assert!(frames <= bytes, "{} frames from {} bytes", frames, bytes);
        }
    }

    #[test]
    fn an_interpreter_that_is_corrupted_after_it_was_found_is_recorded_all_the_same(image in any::<prop::sample::Index>(), harms in prop::collection::vec(harm(), 1..40)) {
        let (facts, ranges) = &images()[image.index(images().len())];
        let sound = Target::from_ranges(facts.clone(), ranges.clone());
        let interpreter = python::locate(&sound).expect("the image is sound");
        let mut ranges = ranges.clone();
        harms.iter().for_each(|harm| do_harm(&mut ranges, harm));
        let target = Target::from_ranges(facts.clone(), ranges);
        let settings = Settings { rate: 2000.0, duration: Some(Duration::from_millis(3)), wanted: Wanted::All, ..Settings::default() };
        let recording = sampler::start(target, interpreter, settings).expect("a thread can be started");
        let mut defined = 0;
        for event in recording.events() {
            match event {
                Event::Stack { id, caller, .. } => {
                    prop_assert_eq!(id.index(), defined);
                    prop_assert!(caller.is_none_or(|caller| caller.index() < defined));
                    defined += 1;
                }
                Event::Sample(sample) => prop_assert!(sample.stack.is_none_or(|stack| stack.index() < defined)),
                _ => {}
            }
        }
        let tally = recording.finish().tally;
        prop_assert_eq!(tally.asked, tally.taken + tally.late + tally.failed);
    }
}
