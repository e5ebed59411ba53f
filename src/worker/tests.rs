use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::telemetry::metrics::LoopName;

const POISON: u32 = 13;

const SLOW: u32 = 14;

/// A stage without a database: its rows are in memory, and its work counts itself.
#[derive(Default)]
struct Rows {
    due: Mutex<VecDeque<u32>>,
    done: Mutex<Vec<u32>>,
    handed_back: Mutex<Vec<u32>>,
    busy: AtomicUsize,
    busiest: AtomicUsize,
    claims: AtomicUsize,
    /// One more row is due at each claim.
    is_fed: bool,
    stop_after_claim: Mutex<Option<CancellationToken>>,
    /// Notified, with a new row, after a claim has read the rows.
    rings: Mutex<Option<Arc<Notify>>>,
}

impl Stage for Rows {
    type Claim = u32;
    type Outcome = ();

    async fn claim(&self, limit: usize) -> Result<Vec<u32>, StoreError> {
        self.claims.fetch_add(1, Ordering::SeqCst);
        let claims = {
            let mut due = self.due.lock().unwrap();
            if self.is_fed {
                due.push_back(1);
            }
            let count = limit.min(due.len());
            due.drain(..count).collect()
        };
        if let Some(wakeup) = self.rings.lock().unwrap().take() {
            self.due.lock().unwrap().push_back(1);
            wakeup.notify_one();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        if let Some(stop) = self.stop_after_claim.lock().unwrap().take() {
            stop.cancel();
        }
        Ok(claims)
    }

    async fn step(&self, claim: &u32) -> Option<()> {
        assert_ne!(*claim, POISON, "on purpose");
        let busy = self.busy.fetch_add(1, Ordering::SeqCst) + 1;
        self.busiest.fetch_max(busy, Ordering::SeqCst);
        let takes = if *claim == SLOW { 5000 } else { 10 };
        tokio::time::sleep(Duration::from_millis(takes)).await;
        self.busy.fetch_sub(1, Ordering::SeqCst);
        Some(())
    }

    async fn record(&self, claim: u32, (): ()) {
        self.done.lock().unwrap().push(claim);
    }

    async fn hand_back(&self, claims: Vec<u32>) {
        self.handed_back.lock().unwrap().extend(claims);
    }

    fn span(&self, _: &u32) -> tracing::Span {
        tracing::Span::none()
    }
}

fn worker(rows: &Arc<Rows>) -> Worker<Rows> {
    Worker {
        stage: Arc::clone(rows),
        max_in_flight: 3,
        max_ahead: 2,
        new_work: Arc::default(),
        poll_interval: PollInterval::new(LoopName::Tasks, Duration::from_secs(1)),
    }
}

/// Waits for a condition; under the paused clock, a minute passes quickly.
async fn until(happened: impl Fn() -> bool) {
    let polled = async {
        while !happened() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), polled).await;
    assert!(in_time.is_ok(), "it never happened");
}

#[tokio::test(start_paused = true)]
async fn everything_due_is_worked_on_and_never_more_at_a_time_than_allowed() {
    let rows = Arc::new(Rows::default());
    rows.due.lock().unwrap().extend(100..120);
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker(&rows).run(stop.clone()));
    until(|| rows.done.lock().unwrap().len() == 20).await;
    stop.cancel();
    running.await.unwrap();
    assert_eq!(rows.busiest.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn claims_that_find_little_let_some_more_come_before_the_next() {
    let rows = Arc::new(Rows { is_fed: true, ..Rows::default() });
    let stop = CancellationToken::new();
    let worker = Worker { max_in_flight: 100, ..worker(&rows) };
    let running = tokio::spawn(worker.run(stop.clone()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let each = Duration::from_millis(20) + MIN_CLAIM_INTERVAL;
    let most = Duration::from_secs(1).div_duration_f64(each) as usize + 1;
    let claims = rows.claims.load(Ordering::SeqCst);
    assert!((10..=most).contains(&claims), "{claims} claims");
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_work_in_flight() {
    let rows = Arc::new(Rows::default());
    rows.due.lock().unwrap().extend(0..3);
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker(&rows).run(stop.clone()));
    until(|| rows.busy.load(Ordering::SeqCst) == 3).await;
    stop.cancel();
    running.await.unwrap();
    assert_eq!(rows.done.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn claims_that_meet_a_stop_are_handed_back_unworked() {
    let rows = Arc::new(Rows::default());
    rows.due.lock().unwrap().extend(0..3);
    let stop = CancellationToken::new();
    *rows.stop_after_claim.lock().unwrap() = Some(stop.clone());
    worker(&rows).run(stop).await;
    assert_eq!(*rows.handed_back.lock().unwrap(), [0, 1, 2]);
    assert!(rows.done.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn work_that_panics_gives_its_place_back_and_stops_nobody_else() {
    let rows = Arc::new(Rows::default());
    rows.due.lock().unwrap().extend([POISON, POISON, POISON, 1, 2, 3]);
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker(&rows).run(stop.clone()));
    until(|| rows.done.lock().unwrap().len() == 3).await;
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn claims_made_ahead_that_no_place_comes_free_for_are_handed_back() {
    let rows = Arc::new(Rows::default());
    // Fast work makes the loop claim ahead; then slow work takes every slot.
    rows.due.lock().unwrap().extend((100..110).chain([SLOW; 8]));
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker(&rows).run(stop.clone()));
    until(|| !rows.handed_back.lock().unwrap().is_empty()).await;
    assert_eq!(rows.busy.load(Ordering::SeqCst), 3, "what is worked on goes on");
    assert_eq!(rows.done.lock().unwrap().len(), 10);
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_ring_while_a_claim_finds_nothing_is_not_lost() {
    let rows = Arc::new(Rows::default());
    let worker = worker(&rows);
    let wakeup = Arc::clone(&worker.new_work);
    let stop = CancellationToken::new();
    let began = Instant::now();
    let running = tokio::spawn(worker.run(stop.clone()));
    // Arrives during a claim that has already read the rows.
    *rows.rings.lock().unwrap() = Some(wakeup);
    until(|| !rows.done.lock().unwrap().is_empty()).await;
    assert!(began.elapsed() < Duration::from_millis(500), "it did not wait for the next look");
    stop.cancel();
    running.await.unwrap();
}
