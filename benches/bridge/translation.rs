//! What it costs that client and server are of different eras: the bridge that translates against the
//! bridge that does not, before the same server, in turns, all of it on one core.

use std::{path::Path, time::Instant};

use tokio::process::Command;

use crate::{
    Outcome,
    call::{Call, Era, INITIALIZED, padded},
    certificates::Certificates,
    effort::Effort,
    pipe::Pipe,
    process,
    sides::{self, Http},
};

const KIB: usize = 1024;
const MIB: usize = KIB * KIB;

/// A client and a server that need each other's words.
pub(crate) struct Pair {
    pub(crate) name: &'static str,
    client: Era,
    server: Era,
}

/// The rows, in their order.
pub(crate) const PAIRS: [Pair; 2] = [
    Pair { name: "legacy client, modern server", client: Era::Legacy, server: Era::Modern },
    Pair { name: "modern client, legacy server", client: Era::Modern, server: Era::Legacy },
];

/// The results that are measured by their rate.
pub(crate) const LARGE: [(&str, usize); 2] = [("1 MiB", MIB), ("16 MiB", 16 * MIB)];

/// Of the bridge that does not translate, and of the one that does.
pub(crate) struct Figures {
    /// The median of a call's time in microseconds.
    pub(crate) call: [f64; 2],
    /// For each of [`LARGE`], MiB a second.
    pub(crate) rates: [[f64; 2]; 2],
    /// For each of them, milliseconds of the bridge's CPU a MiB.
    pub(crate) effort: [[f64; 2]; 2],
}

/// One of the two bridges, with what its client says.
struct Turn {
    pipe: Pipe,
    era: Era,
}

/// How many fresh processes of each side time their calls a round: where one comes to lie in memory changes
/// its times by some percent.
const STARTS: usize = 5;

/// Measures a pair; the lower quartile of all rounds. Calls in fresh processes, large results in one.
pub(crate) async fn measure(
    pair: &Pair,
    (program, certificates, port): (&Path, &Certificates, u16),
    effort: Effort,
) -> Outcome<Figures> {
    let begin = async || -> Outcome<[Turn; 2]> {
        let command = || sides::before(program, certificates, port, Http::One, pair.server.path());
        let mut translating = command();
        translating.args(["--protocol", pair.client.name()]);
        let native = Turn::begin(command(), pair.server).await?;
        Ok([native, Turn::begin(translating, pair.client).await?])
    };
    let mut calls = [const { Vec::new() }; 2];
    for _ in 0..effort.rounds * STARTS {
        for (mut turn, calls) in begin().await?.into_iter().zip(&mut calls) {
            calls.push(turn.median(effort.sequential).await?);
            turn.pipe.close().await?;
        }
    }
    let mut turns = begin().await?;
    let mut slowness = [const { [const { Vec::new() }; 2] }; 2];
    let mut spent = [[0.0; 2]; 2];
    for _ in 0..effort.rounds {
        for (at, (_, size)) in LARGE.iter().enumerate() {
            for (side, turn) in turns.iter_mut().enumerate() {
                let (rate, cpu) = turn.large(*size, effort.volume).await?;
                slowness[at][side].push(1.0 / rate);
                spent[at][side] += cpu;
            }
        }
    }
    for turn in turns {
        turn.pipe.close().await?;
    }
    #[expect(clippy::cast_precision_loss, reason = "a few rounds")]
    let rounds = effort.rounds as f64;
    Ok(Figures {
        call: calls.map(quartile),
        rates: slowness.map(|sides| sides.map(|all| 1.0 / quartile(all))),
        effort: spent.map(|sides| sides.map(|all| all / rounds)),
    })
}

impl Turn {
    async fn begin(command: Command, era: Era) -> Outcome<Self> {
        let mut pipe = Pipe::spawn(command)?;
        pipe.send(era.opening().to_owned()).await?;
        pipe.response().await?;
        if matches!(era, Era::Legacy) {
            pipe.send(INITIALIZED.to_owned()).await?;
        }
        Ok(Self { pipe, era })
    }

    /// Of calls of 1 KiB each way, one after another.
    async fn median(&mut self, calls: usize) -> Outcome<f64> {
        let mut times = Vec::with_capacity(calls);
        for id in 1..=calls {
            let request = padded(id, Call::Json(KIB), self.era, KIB);
            let started = Instant::now();
            self.pipe.send(request).await?;
            self.pipe.response().await?;
            times.push(started.elapsed().as_secs_f64() * 1e6);
        }
        times.sort_by(f64::total_cmp);
        Ok(times[calls / 2])
    }

    /// MiB a second, and milliseconds of CPU a MiB, of results of `size`.
    async fn large(&mut self, size: usize, volume: usize) -> Outcome<(f64, f64)> {
        let process = self.pipe.id()?;
        let (started, before) = (Instant::now(), process::cpu_seconds(process)?);
        for id in 1..=volume / size {
            self.pipe.send(padded(id, Call::Json(size), self.era, KIB)).await?;
            self.pipe.response().await?;
        }
        let mib = f64::from(u32::try_from(volume / MIB)?);
        let (took, spent) =
            (started.elapsed().as_secs_f64(), process::cpu_seconds(process)? - before);
        Ok((mib / took, spent * 1000.0 / mib))
    }
}

/// What else the machine does only ever adds to a time.
fn quartile(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 4).copied().unwrap_or(f64::NAN)
}
