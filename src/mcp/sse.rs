//! Server-sent events, decoded as they arrive.
//!
//! Bytes in, in any split; events out, the same for every split. Follows the HTML standard,
//! section 9.2.6 "Interpreting an event stream". An event that lies whole within one chunk is
//! a slice of it, not a copy. What it will not do: know what is in the data.

use std::time::Duration;

use bytes::Bytes;

/// One dispatched event, or a change of the stream's position without data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The `event` field; empty for the default type `message`.
    pub kind: Bytes,
    /// The `data` lines joined by line feeds; empty in an event that only moves the position.
    pub data: Bytes,
}

/// Decodes one stream.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    /// The start of a line whose end has not arrived.
    partial: Vec<u8>,
    /// The last byte was a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    started: bool,
    data: Data,
    kind: Bytes,
    pending_id: Option<Bytes>,
    last_id: Option<Bytes>,
    retry: Option<Duration>,
}

#[derive(Debug, Default)]
enum Data {
    #[default]
    None,
    One(Bytes),
    Many(Vec<u8>),
}

/// An event or line is longer than the limit.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a server-sent event is longer than {0} bytes")]
pub struct TooLong(pub usize);

impl Decoder {
    /// A decoder that holds at most about `limit` bytes of one event.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            partial: Vec::new(),
            after_return: false,
            started: false,
            data: Data::None,
            kind: Bytes::new(),
            pending_id: None,
            last_id: None,
            retry: None,
        }
    }

    /// The id of the last dispatched event that had one: where to resume.
    #[must_use]
    pub fn last_id(&self) -> Option<&Bytes> {
        self.last_id.as_ref()
    }

    /// The last `retry` field, which is how long to wait before resuming.
    #[must_use]
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Takes the next bytes of the stream and hands each event that they complete to `each`.
    ///
    /// # Errors
    /// [`TooLong`] when an event outgrows the limit; the stream can't be followed any further.
    pub fn push(&mut self, chunk: &Bytes, mut each: impl FnMut(Event)) -> Result<(), TooLong> {
        let mut start = 0;
        while start < chunk.len() {
            if std::mem::take(&mut self.after_return) && chunk[start] == b'\n' {
                start += 1;
                continue;
            }
            let Some(length) = memchr::memchr2(b'\n', b'\r', &chunk[start..]) else { break };
            let end = start + length;
            self.after_return = chunk[end] == b'\r';
            let line = self.complete(chunk, start, end);
            start = end + 1;
            self.line(line, &mut each)?;
        }
        if start < chunk.len() {
            self.partial.extend_from_slice(&chunk[start..]);
        }
        self.bounded(self.partial.len())
    }

    fn complete(&mut self, chunk: &Bytes, start: usize, end: usize) -> Bytes {
        let line = if self.partial.is_empty() {
            chunk.slice(start..end)
        } else {
            self.partial.extend_from_slice(&chunk[start..end]);
            Bytes::from(std::mem::take(&mut self.partial))
        };
        if std::mem::replace(&mut self.started, true) {
            return line;
        }
        line.strip_prefix(b"\xef\xbb\xbf").map(|rest| line.slice_ref(rest)).unwrap_or(line)
    }

    fn line(&mut self, line: Bytes, each: &mut impl FnMut(Event)) -> Result<(), TooLong> {
        if line.is_empty() {
            self.dispatch(each);
            return Ok(());
        }
        let colon = memchr::memchr(b':', &line);
        let name = &line[..colon.unwrap_or(line.len())];
        let value = match colon {
            None => Bytes::new(),
            Some(at) => {
                let from = at + 1 + usize::from(line.get(at + 1) == Some(&b' '));
                line.slice(from..)
            }
        };
        match name {
            b"data" => self.add_data(value)?,
            b"event" => self.kind = value,
            b"id" if !value.contains(&0) => self.pending_id = Some(value),
            b"retry" => {
                let digits = std::str::from_utf8(&value).ok().filter(|v| !v.starts_with('+'));
                if let Some(millis) = digits.and_then(|v| v.parse().ok()) {
                    self.retry = Some(Duration::from_millis(millis));
                }
            }
            // Comments have an empty name; unknown fields are ignored.
            _ => {}
        }
        Ok(())
    }

    fn add_data(&mut self, value: Bytes) -> Result<(), TooLong> {
        self.data = match std::mem::take(&mut self.data) {
            Data::None => Data::One(value),
            Data::One(first) => {
                let mut all = Vec::from(first);
                all.push(b'\n');
                all.extend_from_slice(&value);
                Data::Many(all)
            }
            Data::Many(mut all) => {
                all.push(b'\n');
                all.extend_from_slice(&value);
                Data::Many(all)
            }
        };
        let length = match &self.data {
            Data::None => 0,
            Data::One(one) => one.len(),
            Data::Many(all) => all.len(),
        };
        self.bounded(length)
    }

    fn bounded(&self, length: usize) -> Result<(), TooLong> {
        // Room for the field's name beside a message of exactly the limit.
        if length > self.limit.saturating_add(16) { Err(TooLong(self.limit)) } else { Ok(()) }
    }

    fn dispatch(&mut self, each: &mut impl FnMut(Event)) {
        let id = self.pending_id.take();
        let moved = id.is_some();
        if let Some(id) = id {
            // An empty id resets the position (HTML 9.2.6).
            // A copy, so that an id does not keep a whole chunk alive.
            self.last_id = (!id.is_empty()).then(|| Bytes::copy_from_slice(&id));
        }
        let kind = std::mem::take(&mut self.kind);
        let data = match std::mem::take(&mut self.data) {
            Data::None if !moved => return,
            Data::None => Bytes::new(),
            Data::One(one) => one,
            Data::Many(all) => Bytes::from(all),
        };
        each(Event { kind, data });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn decode(chunks: &[&[u8]]) -> (Vec<Event>, Option<Bytes>, Option<Duration>) {
        let mut decoder = Decoder::new(1 << 20);
        let mut events = Vec::new();
        for chunk in chunks {
            decoder.push(&Bytes::copy_from_slice(chunk), |event| events.push(event)).unwrap();
        }
        (events, decoder.last_id().cloned(), decoder.retry())
    }

    fn data(text: &str) -> (Vec<String>, Option<Bytes>) {
        let (events, id, _) = decode(&[text.as_bytes()]);
        let texts = events.iter().map(|event| String::from_utf8_lossy(&event.data).into_owned());
        (texts.collect(), id)
    }

    #[test]
    fn the_standards_own_examples() {
        let (events, _) = data("data: YHOO\ndata: +2\ndata: 10\n\n");
        assert_eq!(events, ["YHOO\n+2\n10"]);
        let (events, id) = data(
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        );
        assert_eq!(events, ["first event", "second event", " third event"]);
        assert_eq!(id, None, "an empty id resets the position");
        assert_eq!(data("data\n\ndata\ndata\n\ndata:").0, ["", "\n"]);
        assert_eq!(data("data:test\n\ndata: test\n\n").0, ["test", "test"]);
    }

    #[test]
    fn a_priming_event_moves_the_position() {
        let (events, id, retry) = decode(&[b"id: p1\nretry: 1500\ndata:\n\n"]);
        assert_eq!(events.len(), 1);
        assert!(events[0].data.is_empty());
        assert_eq!(id.as_deref(), Some(&b"p1"[..]));
        assert_eq!(retry, Some(Duration::from_millis(1500)));
    }

    #[test]
    fn an_event_cut_off_by_the_end_is_no_event_and_moves_nothing() {
        let (events, id, _) = decode(&[b"id: 1\ndata: a\n\nid: 2\ndata: b\n"]);
        assert_eq!(events.len(), 1);
        assert_eq!(id.as_deref(), Some(&b"1"[..]));
    }

    #[test]
    fn a_byte_order_mark_and_bad_retries_are_ignored() {
        let (events, _, retry) = decode(&[b"\xef\xbb\xbfdata: a\nretry: 1x\nretry: +5\n\n"]);
        assert_eq!(events[0].data, "a");
        assert_eq!(retry, None);
    }

    #[test]
    fn an_event_that_outgrows_the_limit_ends_the_stream() {
        let mut decoder = Decoder::new(10);
        let endless = Bytes::from(vec![b'x'; 64]);
        assert_eq!(decoder.push(&endless, |_| ()), Err(TooLong(10)));
        let mut decoder = Decoder::new(10);
        let lines = Bytes::from("data: 1234567\n".repeat(10));
        assert_eq!(decoder.push(&lines, |_| ()), Err(TooLong(10)));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(
            parts in prop::collection::vec(
                prop::sample::select(vec!["data", ":", " ", "id", "event", "retry", "\n", "\r", "\r\n", "a", "7", "\n\n", "\u{feff}", "data: x\n\n"]),
                0..60),
            cuts in prop::collection::vec(0usize..200, 0..10),
        ) {
            let text = parts.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let bytes: Vec<&[u8]> = text.chunks(1).collect();
            let whole = decode(&[&text]);
            prop_assert_eq!(&decode(&chunks), &whole);
            prop_assert_eq!(&decode(&bytes), &whole);
        }
    }
}
