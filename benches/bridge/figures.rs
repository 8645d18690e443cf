//! Each figure: what is done, in which turns, and what it has to reach.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::process::Command;

use crate::{
    Outcome,
    call::{Call, INITIALIZE},
    certificates::Certificates,
    effort::Effort,
    https::Https,
    pipe::Pipe,
    process::{self, OneCore},
    program,
    sides::{self, Http, Side, ourselves},
    signing,
    table::{Figure, Floor, Table, say},
    translation,
};

const MIB: usize = 1024 * 1024;
/// Each way to the far upstream.
const FAR_MILLIS: &str = "20";

/// What all figures are made with.
struct Bench {
    program: PathBuf,
    certificates: Certificates,
    effort: Effort,
    table: Table,
}

/// Measures everything and prints the table.
pub(crate) async fn run(arguments: &[&str]) -> Outcome<()> {
    let effort = Effort::asked(arguments);
    let program = program::find(effort.quick)?;
    say(&format!("{}, on {}", program.display(), process::machine()));
    let table = Table::begin();
    let bench = Bench { program, certificates: Certificates::make()?, effort, table };
    if arguments.contains(&"translation") {
        return bench.translation().await;
    }
    let (gateway, port) = bench.gateway().await?;
    for http in Http::BOTH {
        let mut turns = Turns { bench: &bench, sides: bench.sides(port, http).await?, http };
        turns.sequential("sequential", 5.0).await?;
        turns.floods().await?;
        turns.large().await?;
        turns.progress().await?;
        turns.cpu().await?;
    }
    for http in Http::BOTH {
        bench.one_core(http).await?;
        bench.cold_start(port, http).await?;
        bench.memory(port, http).await?;
        bench.far(port, http).await?;
    }
    gateway.close().await?;
    bench.signing().await?;
    bench.translation().await?;
    bench.size()
}

impl Bench {
    /// A server in a process of its own.
    async fn gateway(&self) -> Outcome<(Pipe, u16)> {
        let directory = self.certificates.path().to_str().ok_or("the directory has no text")?;
        let mut gateway = Pipe::spawn(ourselves(&["gateway", directory])?)?;
        let port = gateway.first_line().await?.parse()?;
        Ok((gateway, port))
    }

    fn command(&self, port: u16, http: Http) -> Command {
        sides::command(&self.program, &self.certificates, port, http)
    }

    async fn sides(&self, port: u16, http: Http) -> Outcome<[Side; 3]> {
        Ok([
            Side::direct(&self.certificates, port, http).await?,
            Side::limit(&self.certificates, port, http).await?,
            Side::bridge(self.command(port, http)).await?,
        ])
    }

    fn add(&self, name: String, unit: &'static str, values: [f64; 3], floor: Floor) {
        let [direct, limit, bridge] = values;
        let (direct, limit) = (Some(direct), Some(limit));
        self.table.add(&Figure { name, unit, direct, limit, bridge, floor });
    }

    fn add_alone(&self, name: String, unit: &'static str, bridge: f64, floor: Floor) {
        self.table.add(&Figure { name, unit, direct: None, limit: None, bridge, floor });
    }

    /// Server, client and bridge on one core, where wake-ups of other cores blur nothing.
    async fn one_core(&self, http: Http) -> Outcome<()> {
        let _one = OneCore::pin()?;
        let (gateway, port) = self.gateway().await?;
        let mut turns = Turns { bench: self, sides: self.sides(port, http).await?, http };
        turns.sequential("sequential, one core", 2.5).await?;
        gateway.close().await
    }

    /// From nothing to the answer to `initialize`.
    async fn cold_start(&self, port: u16, http: Http) -> Outcome<()> {
        let mut times = [const { Vec::new() }; 3];
        for _ in 0..self.effort.rounds * self.effort.starts {
            let started = Instant::now();
            // The least that a process is.
            let mut pipe = Pipe::spawn(Command::new("cat"))?;
            pipe.send("{}".to_owned()).await?;
            pipe.response().await?;
            let spawned = started.elapsed();
            Https::new(&self.certificates, port, http)?.initialize().await?;
            let both = started.elapsed();
            pipe.close().await?;

            let started = Instant::now();
            let mut pipe = Pipe::spawn(self.command(port, http))?;
            pipe.send(INITIALIZE.to_owned()).await?;
            pipe.response().await?;
            let bridge = started.elapsed();
            pipe.close().await?;
            for (times, time) in times.iter_mut().zip([both - spawned, both, bridge]) {
                times.push(millis(time));
            }
        }
        let name = format!("cold start to the answer to initialize, HTTP/{}", http.name());
        self.add(name, "ms", times.map(quartile), Floor::RatioAtMost(2.0));
        Ok(())
    }

    /// At rest after a few calls, and at peak, each in a process that does nothing else.
    async fn memory(&self, port: u16, http: Http) -> Outcome<()> {
        let mut bridge = Side::bridge(self.command(port, http)).await?;
        bridge.flood(1, 10).await?;
        tokio::time::sleep(self.effort.rest).await;
        let (resident, threads) =
            (process::resident(bridge.id()?)?, process::threads(bridge.id()?)?);
        let name = format!("memory at rest, HTTP/{}", http.name());
        self.add_alone(name, "MiB", mib(resident), Floor::AtMost(8.0));
        let name = format!("threads at rest, HTTP/{}", http.name());
        self.add_alone(name, "", count(threads), Floor::AtMost(2.0));
        bridge.flood(64, self.effort.flood).await?;
        let name = format!("memory at peak, 64 in flight, HTTP/{}", http.name());
        self.add_alone(name, "MiB", mib(process::peak(bridge.id()?)?), Floor::AtMost(48.0));
        bridge.close().await?;
        for (shape, call) in [("JSON", Call::Json(16 * MIB)), ("one event", Call::Event(16 * MIB))]
        {
            let mut bridge = Side::bridge(self.command(port, http)).await?;
            for _ in 0..3 {
                bridge.call(call).await?;
            }
            let name = format!("memory at peak, 16 MiB as {shape}, HTTP/{}", http.name());
            self.add_alone(name, "MiB", mib(process::peak(bridge.id()?)?), Floor::AtMost(48.0));
            bridge.close().await?;
        }
        Ok(())
    }

    /// An upstream with a round trip of 40 ms: many calls at once in a new session, and on.
    async fn far(&self, port: u16, http: Http) -> Outcome<()> {
        let mut network = Pipe::spawn(ourselves(&["far", &port.to_string(), FAR_MILLIS])?)?;
        let port = network.first_line().await?.parse()?;
        let mut times = [const { Vec::new() }; 3];
        let mut later = [const { Vec::new() }; 3];
        for _ in 0..self.effort.rounds.min(5) {
            let sides = self.sides(port, http).await?;
            for (i, mut side) in sides.into_iter().enumerate() {
                side.call(Call::SMALL).await?;
                let started = Instant::now();
                side.flood(64, 64).await?;
                times[i].push(millis(started.elapsed()));
                let started = Instant::now();
                side.flood(64, self.effort.far).await?;
                later[i].push(seconds(started));
                side.close().await?;
            }
        }
        let name = format!("far upstream, first 64 calls at once, HTTP/{}", http.name());
        self.add(name, "ms", times.map(quartile), Floor::None);
        let name = format!("far upstream, 64 in flight, HTTP/{}", http.name());
        let rates = later.map(|times| rate(self.effort.far, quartile(times)));
        self.add(name, "calls/s", rates, Floor::None);
        network.close().await
    }

    /// The bridge with a credential, and without one in the column of the limit.
    async fn signing(&self) -> Outcome<()> {
        let _one = OneCore::pin()?;
        let (gateway, port) = self.gateway().await?;
        signing::make_keys(self.certificates.path())?;
        for cost in &signing::COSTS {
            let on = (self.program.as_path(), &self.certificates, port);
            let [without, with] = signing::measure(cost, on, self.effort).await?;
            self.table.add(&Figure {
                name: format!("call with {}", cost.name),
                unit: "us",
                direct: None,
                limit: Some(without),
                bridge: with,
                floor: Floor::None,
            });
        }
        gateway.close().await
    }

    /// The bridge between the eras, and the one within the server's in the column of the limit.
    async fn translation(&self) -> Outcome<()> {
        let _one = OneCore::pin()?;
        let (gateway, port) = self.gateway().await?;
        for pair in &translation::PAIRS {
            let on = (self.program.as_path(), &self.certificates, port);
            let found = translation::measure(pair, on, self.effort).await?;
            let row = |what: &str, unit, [native, translated]: [f64; 2], floor| Figure {
                name: format!("{what}, {}", pair.name),
                unit,
                direct: None,
                limit: Some(native),
                bridge: translated,
                floor,
            };
            let most = Floor::RatioAtMost(1.15);
            self.table.add(&row("call of 1 KiB, p50", "us", found.call, most));
            for (at, (size, _)) in translation::LARGE.iter().enumerate() {
                self.table.add(&row(size, "MiB/s", found.rates[at], Floor::None));
                let what = format!("CPU for {size}");
                self.table.add(&row(&what, "ms a MiB", found.effort[at], Floor::None));
            }
        }
        gateway.close().await
    }

    fn size(&self) -> Outcome<()> {
        let bytes = std::fs::metadata(&self.program)?.len();
        let name = "size of the binary".to_owned();
        #[expect(clippy::cast_precision_loss, reason = "a file's size in MB")]
        self.add_alone(name, "MB", bytes as f64 / 1e6, Floor::AtMost(12.0));
        Ok(())
    }
}

/// The sides, taking turns.
struct Turns<'a> {
    bench: &'a Bench,
    sides: [Side; 3],
    http: Http,
}

impl Turns<'_> {
    /// What `measure` says of each side, round after round.
    async fn take<const N: usize>(
        &mut self,
        mut measure: impl AsyncFnMut(&mut Side) -> Outcome<[f64; N]>,
    ) -> Outcome<[[f64; 3]; N]> {
        let mut all = [const { [const { Vec::new() }; 3] }; N];
        for _ in 0..self.bench.effort.rounds {
            for (i, side) in self.sides.iter_mut().enumerate() {
                for (figure, value) in all.iter_mut().zip(measure(side).await?) {
                    figure[i].push(value);
                }
            }
        }
        Ok(all.map(|figure| figure.map(quartile)))
    }

    fn add(&self, name: &str, unit: &'static str, values: [f64; 3], floor: Floor) {
        self.bench.add(format!("{name}, HTTP/{}", self.http.name()), unit, values, floor);
    }

    async fn sequential(&mut self, what: &str, floor: f64) -> Outcome<()> {
        let calls = self.bench.effort.sequential;
        let [half, late] = self
            .take(async |side| {
                let mut times = Vec::with_capacity(calls);
                for _ in 0..calls {
                    let started = Instant::now();
                    side.call(Call::SMALL).await?;
                    times.push(millis(started.elapsed()) * 1000.0);
                }
                times.sort_by(f64::total_cmp);
                Ok([times[calls / 2], times[calls * 99 / 100]])
            })
            .await?;
        self.add(&format!("{what}, p50"), "us", half, Floor::RatioAtMost(floor));
        self.add(&format!("{what}, p99"), "us", late, Floor::None);
        Ok(())
    }

    async fn floods(&mut self) -> Outcome<()> {
        for (width, floor) in [(1, Floor::None), (8, Floor::None), (64, Floor::RatioAtLeast(0.4))] {
            let total = self.bench.effort.flood;
            let [times] = self
                .take(async |side| {
                    let started = Instant::now();
                    side.flood(width, total).await?;
                    Ok([seconds(started)])
                })
                .await?;
            let rates = times.map(|time| rate(total, time));
            self.add(&format!("{width} in flight"), "calls/s", rates, floor);
        }
        Ok(())
    }

    async fn large(&mut self) -> Outcome<()> {
        for (size, floor) in [(1, Floor::None), (16, Floor::RatioAtLeast(0.7))] {
            for (shape, call) in
                [("JSON", Call::Json(size * MIB)), ("one event", Call::Event(size * MIB))]
            {
                let calls = self.bench.effort.volume / (size * MIB);
                let [times] = self
                    .take(async |side| {
                        let started = Instant::now();
                        for _ in 0..calls {
                            side.call(call).await?;
                        }
                        Ok([seconds(started)])
                    })
                    .await?;
                let rates = times.map(|time| rate(calls * size, time));
                self.add(&format!("{size} MiB as {shape}"), "MiB/s", rates, floor);
            }
        }
        Ok(())
    }

    async fn progress(&mut self) -> Outcome<()> {
        let notices = self.bench.effort.notifications;
        let [times] = self
            .take(async |side| {
                let started = Instant::now();
                side.call(Call::Progress(notices)).await?;
                Ok([seconds(started)])
            })
            .await?;
        let rates = times.map(|time| rate(notices, time));
        let name = format!("{notices} notifications");
        self.add(&name, "a second", rates, Floor::RatioAtLeast(0.4));
        Ok(())
    }

    /// Of the bridge's process alone; what the limit takes is in this one.
    async fn cpu(&mut self) -> Outcome<()> {
        let [_, _, bridge] = &mut self.sides;
        let (calls, id) = (if self.bench.effort.quick { 1_000 } else { 10_000 }, bridge.id()?);
        let mut used = Vec::new();
        for _ in 0..self.bench.effort.rounds.min(3) {
            let before = process::cpu_seconds(id)?;
            bridge.flood(64, calls).await?;
            used.push(process::cpu_seconds(id)? - before);
        }
        let name = format!("CPU for {calls} calls, 64 in flight, HTTP/{}", self.http.name());
        self.bench.add_alone(name, "s", quartile(used), Floor::AtMost(0.4));
        Ok(())
    }
}

/// The lower quartile: what else the machine does only ever adds to a time.
fn quartile(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 4).copied().unwrap_or(f64::NAN)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn seconds(started: Instant) -> f64 {
    started.elapsed().as_secs_f64()
}

fn rate(count: usize, seconds: f64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / seconds
}

fn mib(kib: u64) -> f64 {
    count(kib) / 1024.0
}

fn count(number: u64) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}
