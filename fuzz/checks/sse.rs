//! An event stream means the same however it is cut into pieces.

use bytes::Bytes;
use countersign::mcp::sse::{Decoder, Event};

const LIMIT: usize = 4096;

pub(super) fn run(input: &[u8]) {
    let Some((&pace, stream)) = input.split_first() else { return };
    let whole = decoded(std::iter::once(stream));
    let pieces = decoded(stream.chunks(usize::from(pace).max(1)));
    // A piece that breaks the limit ends the stream sooner or later in itself, with all before it told.
    match (whole, pieces) {
        (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces),
        (whole, pieces) => assert_eq!(whole.is_err(), pieces.is_err()),
    }
}

type Told = (Vec<(Bytes, Bytes)>, Option<Bytes>);

fn decoded<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<Told, ()> {
    let mut decoder = Decoder::new(LIMIT);
    let mut events = Vec::new();
    for piece in pieces {
        let told = |event: Event| events.push((event.kind, event.data));
        decoder.push(&Bytes::copy_from_slice(piece), told).map_err(drop)?;
    }
    Ok((events, decoder.last_id().cloned()))
}
