//! bincode 1.3 on one record, at the command of bench/cases/codec.ts. Takes the file of the record; reads lines from
//! stdin, `decode 50` or `encode 50`: does that for 50 ms and answers with the nanoseconds a call of each batch took. It
//! waits in between, so that it and the sides in Node take turns on the machine.
//!
//! The record is a tuple, which bincode reads and writes as it does a struct of the same fields: field after field and
//! nothing between. That spares the derive macro, and the crates that it needs.

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;
use std::hint::black_box;
use std::io::{self, BufRead, Write};
use std::time::{Duration, Instant};

/// As the crate uuid does it: bytes with a length before them.
struct Uuid([u8; 16]);

impl Serialize for Uuid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Uuid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Uuid;
            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("16 bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Uuid, E> {
                bytes.try_into().map(Uuid).map_err(|_| E::invalid_length(bytes.len(), &self))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// user_id, base shape and data, user shape and data, rank, scaling_factor, training_iterations: docs/format.md.
type Record = (Uuid, (usize, usize), Vec<f32>, (usize, usize), Vec<f32>, usize, f32, u64);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bytes = std::fs::read(std::env::args().nth(1).ok_or("which file?")?)?;
    let record: Record = bincode::deserialize(&bytes)?;
    if bincode::serialize(&record)? != bytes {
        return Err("the record is written differently from how it was read".into());
    }
    println!("ready");
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (work, milliseconds) = line.split_once(' ').ok_or("a command is two words")?;
        let slice = Duration::from_millis(milliseconds.parse()?);
        let times = match work {
            "decode" => batches(slice, || bincode::deserialize::<Record>(black_box(&bytes)).unwrap()),
            "encode" => batches(slice, || bincode::serialize(black_box(&record)).unwrap()),
            _ => return Err(format!("no such work: {work}").into()),
        };
        writeln!(io::stdout(), "{}", times.join(" "))?;
    }
    Ok(())
}

const BATCH: u32 = 20;

/// What a call returns is dropped in its turn, so the time to free it is counted, as the collector's is in Node.
fn batches<T>(slice: Duration, call: impl Fn() -> T) -> Vec<String> {
    let end = Instant::now() + slice;
    let mut times = Vec::new();
    while times.is_empty() || Instant::now() < end {
        let start = Instant::now();
        for _ in 0..BATCH {
            black_box(call());
        }
        times.push(format!("{:.1}", start.elapsed().as_nanos() as f64 / f64::from(BATCH)));
    }
    times
}
