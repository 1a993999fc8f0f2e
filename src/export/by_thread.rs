//! A recording comes in the order of time; some formats want all samples of one thread, then all of the next. They are
//! kept as far as there is room, and read again where there is not: memory does not grow with the recording.

use std::io;
use std::ops::Range;

use super::tables::Tables;
use crate::sample::{Event, Replay, Sample, ThreadId};

/// As many samples are kept at most: 64 MiB of them. With fewer a long recording would be read more often.
const MOST_KEPT: u64 = 1 << 21;

/// The samples of one thread, in order, as often as they are asked for.
pub enum Samples<'a> {
    /// Kept.
    Kept(Vec<Sample>),
    /// Too many: read each time.
    Replayed(&'a dyn Replay, &'a Tables, ThreadId),
}

impl Samples<'_> {
    /// Goes through them.
    pub fn each(&self, take: &mut dyn FnMut(&Sample) -> io::Result<()>) -> io::Result<()> {
        match self {
            Samples::Kept(samples) => samples.iter().try_for_each(take),
            Samples::Replayed(recording, tables, thread) => recording.replay(&mut |event| match event {
                Event::Sample(sample) if tables.thread_of(sample.thread) == *thread => take(&sample),
                _ => Ok(()),
            }),
        }
    }
}

/// Calls `visit` with each thread that has samples, by id, and its samples.
pub fn each_thread(
    recording: &dyn Replay,
    tables: &Tables,
    visit: &mut dyn FnMut(ThreadId, &Samples) -> io::Result<()>,
) -> io::Result<()> {
    each_thread_of(recording, tables, MOST_KEPT, visit)
}

fn each_thread_of(
    recording: &dyn Replay,
    tables: &Tables,
    most_kept: u64,
    visit: &mut dyn FnMut(ThreadId, &Samples) -> io::Result<()>,
) -> io::Result<()> {
    let threads: Vec<(ThreadId, u64)> = tables.threads().map(|(id, _, extent)| (id, extent.samples)).collect();
    let mut rest = 0..threads.len();
    while let Some(&(first, samples)) = threads.get(rest.start) {
        if samples > most_kept {
            visit(first, &Samples::Replayed(recording, tables, first))?;
            rest.start += 1;
            continue;
        }
        let group = fitting(&threads, rest.clone(), most_kept);
        rest.start = group.end;
        let ids = first..=threads[group.end - 1].0;
        let mut kept: Vec<Vec<Sample>> = vec![Vec::new(); group.len()];
        recording.replay(&mut |event| {
            if let Event::Sample(sample) = event {
                let thread = tables.thread_of(sample.thread);
                if ids.contains(&thread)
                    && let Ok(place) = threads[group.clone()].binary_search_by_key(&thread, |(id, _)| *id)
                {
                    kept[place].push(sample);
                }
            }
            Ok(())
        })?;
        for (place, samples) in group.zip(kept) {
            visit(threads[place].0, &Samples::Kept(samples))?;
        }
    }
    Ok(())
}

/// The threads from the first of `rest` on whose samples fit, that one at least.
fn fitting(threads: &[(ThreadId, u64)], rest: Range<usize>, most_kept: u64) -> Range<usize> {
    let mut kept = 0;
    let fit = threads[rest.clone()].iter().take_while(|(_, samples)| {
        kept += samples;
        kept <= most_kept
    });
    rest.start..rest.start + fit.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::recordings::Recipe;

    /// For each thread, when it was sampled.
    fn by_thread(most_kept: u64) -> Vec<(u32, Vec<u64>)> {
        let mut recipe = Recipe::new();
        let threads: Vec<_> = ["a", "b", "c", "d"].map(|name| recipe.thread(0, name)).into();
        for slot in 0..12 {
            let thread = [0, 1, 0, 3, 0, 1][slot as usize % 6];
            recipe.sample(threads[thread], slot, &[("f", 1)]);
        }
        let recording = recipe.recording();
        let tables = Tables::read(&recording, &mut |_| {}).unwrap();
        let mut all = Vec::new();
        let mut visit = |thread: ThreadId, samples: &Samples| {
            let mut times = Vec::new();
            samples.each(&mut |sample| {
                times.push(sample.at.as_millis() as u64 / 10);
                Ok(())
            })?;
            all.push((thread.0, times));
            Ok(())
        };
        each_thread_of(&recording, &tables, most_kept, &mut visit).unwrap();
        all
    }

    #[test]
    fn each_thread_has_its_samples_in_order_whatever_is_kept() {
        let expected = [(0, vec![0, 2, 4, 6, 8, 10]), (1, vec![1, 5, 7, 11]), (3, vec![3, 9])];
        for most_kept in [0, 1, 4, 5, 6, 7, 100] {
            assert_eq!(by_thread(most_kept), expected, "{most_kept}");
        }
    }
}
