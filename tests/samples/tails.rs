// SPDX-License-Identifier: Apache-2.0
// tails.rs - what the allocations of a program in Rust are called by: test_names.py.
use std::collections::HashMap;

pub struct Session {
    id: u64,
    history: Vec<u8>,
    next: Option<Box<Session>>,
}

#[inline(never)]
fn make(id: u64) -> Session {
    Session { id, history: vec![7u8; 4096], next: None }
}

fn main() {
    let mut sessions: HashMap<u64, Box<Session>> = HashMap::new();
    for id in 0..50 {
        let mut kept = Box::new(make(id));
        kept.next = Some(Box::new(make(id)));
        sessions.insert(id, kept);
    }
    println!("{}", sessions.values().map(|s| s.id + s.history.len() as u64).sum::<u64>());
    std::process::exit(0);
}
