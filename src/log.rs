//! What is said on standard error: warnings by default, more on request, never a secret.
//!
//! Lines are written without blocking: a client that does not read standard error loses lines,
//! not calls. Only this crate's own events are let through, at any level: the libraries below
//! trace header values.

use std::{
    fmt,
    io::{self, IoSlice},
    sync::Arc,
};

use tracing::{Event, Level as TracingLevel, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter, format::Writer, time::FormatTime},
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use crate::stdio::Output;

/// How much is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Warnings and errors.
    #[default]
    Quiet,
    /// Also session events, rotations, refreshes.
    Verbose,
    /// Also the heads of requests and responses (values redacted) and timings.
    Debug,
    /// Everything.
    Trace,
}

/// The log's settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// How much is said.
    pub level: Level,
    /// One JSON object a line instead of text.
    pub json: bool,
}

/// Starts logging to standard error. Must be called within the runtime, once. `observer` sees what it
/// filters for itself, and changes nothing of what is logged.
pub fn start(settings: Settings, observer: Option<impl Layer<Registry> + Send + Sync>) {
    let level = match settings.level {
        Level::Quiet => LevelFilter::WARN,
        Level::Verbose => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level);
    let writer = Stderr(Arc::new(Output::stderr()));
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
    let registry = tracing_subscriber::registry().with(observer);
    // Fails only if a subscriber is set already, which then does the logging.
    let _ = if settings.json {
        registry.with(layer.json().flatten_event(true).with_filter(ours)).try_init()
    } else {
        let timed = settings.level >= Level::Debug;
        registry.with(layer.event_format(Lines { timed }).with_filter(ours)).try_init()
    };
}

/// `countersign: warning: what happened field=value`.
struct Lines {
    timed: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.timed {
            tracing_subscriber::fmt::time::SystemTime.format_time(&mut writer)?;
            writer.write_char(' ')?;
        }
        let level = match *event.metadata().level() {
            TracingLevel::ERROR => "error",
            TracingLevel::WARN => "warning",
            TracingLevel::INFO => "info",
            TracingLevel::DEBUG => "debug",
            TracingLevel::TRACE => "trace",
        };
        write!(writer, "countersign: {level}: ")?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// Standard error as a writer that drops what does not fit.
#[derive(Clone)]
struct Stderr(Arc<Output>);

impl io::Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Whole lines come here; what a full or broken pipe does not take is lost.
        let _ = self.0.try_write(&[IoSlice::new(line)]);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
