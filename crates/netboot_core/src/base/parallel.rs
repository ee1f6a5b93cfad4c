//! Parallel work on many items with the results in the order of the items, and work that can be abandoned.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::base::progress::Progress;

/// Maximum number of results in the queue for each thread.
const WAITING: usize = 16;

/// Passes each of `items` to `work` on one of `threads` threads, each with its own state, and each result to `take`, in
/// the order of the items.
///
/// # Errors
///
/// The error of the first item that fails in `work` or in `take`; no new item is then started.
pub fn in_order<I, S, T, E>(
    items: impl Iterator<Item = I> + Send,
    threads: usize,
    work: impl Fn(&mut S, I) -> Result<T, E> + Sync,
    mut take: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E>
where
    S: Default,
    T: Send,
    E: Send,
{
    let queue = Mutex::new(items.enumerate());
    let stop = AtomicBool::new(false);
    let threads = threads.max(1);
    let (sender, receiver) = sync_channel(threads * WAITING);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, queue, stop, work) = (sender.clone(), &queue, &stop, &work);
            scope.spawn(move || {
                let mut state = S::default();
                while !stop.load(Ordering::Relaxed) {
                    // A separate statement: the queue must not stay locked during the work.
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((index, item)) = next else { break };
                    if sender.send((index, work(&mut state, item))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let result = collect_all(&receiver, &mut take);
        stop.store(result.is_err(), Ordering::Relaxed);
        // Unblocks senders that wait on a full channel.
        drop(receiver);
        result
    })
}

/// Interval between checks whether the user has asked to stop.
const CANCEL_POLL: Duration = Duration::from_millis(50);

/// Runs `work`, which does not check for cancellation itself, on a separate thread. Returns `None` if the user asks to
/// stop: the thread is then abandoned and ends with the process at the latest, so `work` must tolerate being cut off at
/// any moment.
pub fn detached_on_cancel<T: Send + 'static>(
    progress: &dyn Progress,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = channel();
    let thread = std::thread::spawn(move || {
        // A cancelled caller no longer receives the result.
        let _ = sender.send(work());
    });
    loop {
        match receiver.recv_timeout(CANCEL_POLL) {
            Ok(done) => return Some(done),
            Err(RecvTimeoutError::Timeout) if progress.cancelled() => return None,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => match thread.join() {
                Err(panic) => std::panic::resume_unwind(panic),
                Ok(()) => return None,
            },
        }
    }
}

fn collect_all<T, E>(
    receiver: &Receiver<(usize, Result<T, E>)>,
    take: &mut dyn FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    let mut early = BTreeMap::new();
    let mut next = 0;
    for (index, result) in receiver {
        early.insert(index, result);
        while let Some(result) = early.remove(&next) {
            take(result?)?;
            next += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        let mut taken = Vec::new();
        let work = |count: &mut u32, item: u64| {
            *count += 1;
            // Every third item takes longer.
            std::thread::sleep(std::time::Duration::from_micros(if item.is_multiple_of(3) { 300 } else { 0 }));
            Ok::<_, ()>(item * 2)
        };
        in_order(0..500, 4, work, |result| {
            taken.push(result);
            Ok(())
        })
        .unwrap();
        assert_eq!(taken, (0..500).map(|item| item * 2).collect::<Vec<_>>());
    }

    #[test]
    fn the_first_failure_ends_it() {
        let begun = Mutex::new(0);
        let work = |(): &mut (), item: u32| {
            *begun.lock().unwrap() += 1;
            if item == 20 { Err("work") } else { Ok(item) }
        };
        assert_eq!(in_order(0..100_000, 3, work, |_| Ok(())), Err("work"));
        assert!(*begun.lock().unwrap() < 1000);
        let mut taken = 0;
        let failing = |_| {
            taken += 1;
            if taken == 5 { Err("take") } else { Ok(()) }
        };
        assert_eq!(in_order(0..100_000, 3, |(): &mut (), item| Ok(item), failing), Err("take"));
    }
}
