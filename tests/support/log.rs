//! The log of a story whose stages run in the process of its test.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// The events from here on, on this thread; a story runs on one.
pub(crate) struct Log {
    events: Heard,
    _until_dropped: DefaultGuard,
}

/// The names of the events, and all that their fields say.
#[derive(Clone, Default)]
struct Heard {
    names: Arc<Mutex<Vec<String>>>,
    texts: Arc<Mutex<Vec<String>>>,
}

impl Log {
    pub(crate) fn here() -> Self {
        let events = Heard::default();
        let guard = tracing_subscriber::registry().with(events.clone()).set_default();
        Self { events, _until_dropped: guard }
    }

    pub(crate) fn count(&self, event: &str) -> usize {
        self.events.names.lock().unwrap().iter().filter(|one| *one == event).count()
    }

    pub(crate) fn has(&self, event: &str) -> bool {
        self.events.names.lock().unwrap().iter().any(|one| one == event)
    }

    /// Whether any line of ours has this text in it.
    pub(crate) fn has_text(&self, text: &str) -> bool {
        self.events.texts.lock().unwrap().iter().any(|one| one.contains(text))
    }
}

impl<S: Subscriber> Layer<S> for Heard {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Lines of libraries are never written.
        if event.metadata().target() == "cerby_reconciler" {
            event.record(&mut self.clone());
        }
    }
}

impl Visit for Heard {
    fn record_str(&mut self, field: &Field, text: &str) {
        if field.name() == "event" {
            self.names.lock().unwrap().push(text.to_owned());
        }
        self.texts.lock().unwrap().push(text.to_owned());
    }

    fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
        self.texts.lock().unwrap().push(format!("{value:?}"));
    }
}
