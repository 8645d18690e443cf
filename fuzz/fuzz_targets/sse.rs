//! Any split of a stream gives the same events. The first byte says where to split.
#![no_main]

use bytes::Bytes;
use countersign::mcp::sse::{Decoder, Event};
use libfuzzer_sys::fuzz_target;

fn decode<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, Option<Bytes>) {
    let mut decoder = Decoder::new(1 << 20);
    let mut events = Vec::new();
    for chunk in chunks {
        let pushed = decoder.push(&Bytes::copy_from_slice(chunk), |event| events.push(event));
        assert!(pushed.is_ok());
    }
    (events, decoder.last_id().cloned())
}

fuzz_target!(|bytes: &[u8]| {
    let Some((size, stream)) = bytes.split_first() else { return };
    let whole = decode(std::iter::once(stream));
    assert_eq!(decode(stream.chunks(usize::from(*size).max(1))), whole);
});
