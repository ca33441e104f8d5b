//! Passwords. bcrypt is slow on purpose, so who can make us compute it, and how often, is bounded. Peers take turns, so that whoever
//! guesses delays others by one check at most.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Instant;

use axum::http::HeaderValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, oneshot};
use tokio_rustls::rustls::crypto::ring;

use crate::serve::clients::Peer;

/// Credentials remembered as good.
const MAX_KNOWN: usize = 64;
/// After a wrong password the next check waits for this many times the duration of the last one, so guessing takes at most a quarter
/// of a CPU.
const PAUSE: u32 = 3;

/// Checks passwords, one at a time, and remembers the good ones.
#[derive(Debug)]
pub(super) struct Authenticator {
    turn: Arc<Semaphore>,
    /// At most one client of each peer waits for the turn; the others wait for theirs here.
    turns_of_peers: Mutex<HashMap<Peer, Weak<Semaphore>>>,
    /// Fingerprints of names, hashes and passwords that matched.
    known: Arc<Mutex<HashSet<[u8; 32]>>>,
}

impl Default for Authenticator {
    fn default() -> Self {
        Authenticator { turn: Arc::new(Semaphore::new(1)), turns_of_peers: Mutex::default(), known: Arc::default() }
    }
}

impl Authenticator {
    /// Checks an `Authorization` header; without users everyone is let in.
    pub(super) async fn check(&self, users: &BTreeMap<String, String>, authorization: Option<&HeaderValue>, peer: Peer) -> bool {
        if users.is_empty() {
            return true;
        }
        let Some((name, password)) = authorization.and_then(credentials) else { return false };
        // An unknown name takes as long as a known one, so nobody learns which names exist.
        let (hash, is_user) = match users.get(&name) {
            Some(hash) => (hash, true),
            None => (users.values().next().unwrap_or(&name), false),
        };
        let Some(fingerprint) = fingerprint(&name, hash, &password) else { return false };
        if self.knows(&fingerprint) {
            return true;
        }
        let turn_of_peer = self.turn_of(peer);
        let Ok(_turn_of_peer) = turn_of_peer.acquire().await else { return false };
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else { return false };
        // Several scrapes with the same password may have come at once.
        if self.knows(&fingerprint) {
            return true;
        }
        let (reply, checked) = oneshot::channel();
        let (hash, known) = (hash.clone(), Arc::clone(&self.known));
        tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            let is_good = bcrypt::verify(&password, &hash).unwrap_or(false) & is_user;
            if is_good {
                remember(&known, fingerprint);
            }
            // Whoever asked may be gone.
            reply.send(is_good).ok();
            if !is_good {
                std::thread::sleep(begun.elapsed() * PAUSE);
            }
            drop(turn);
        });
        checked.await.unwrap_or(false)
    }

    fn turn_of(&self, peer: Peer) -> Arc<Semaphore> {
        let mut turns = self.turns_of_peers.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        turns.get(&peer).and_then(Weak::upgrade).unwrap_or_else(|| {
            let turn = Arc::new(Semaphore::new(1));
            turns.insert(peer, Arc::downgrade(&turn));
            turn
        })
    }

    fn knows(&self, fingerprint: &[u8; 32]) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(fingerprint)
    }
}

fn remember(known: &Mutex<HashSet<[u8; 32]>>, fingerprint: [u8; 32]) {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= MAX_KNOWN {
        known.clear();
    }
    known.insert(fingerprint);
}

fn credentials(header: &HeaderValue) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = header.as_bytes().split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    Some((String::from_utf8(decoded[..colon].to_vec()).ok()?, decoded[colon + 1..].to_vec()))
}

/// Stands for credentials in memory. It is keyed, so precomputed lists are useless, and includes the hash, so a changed password is
/// forgotten.
fn fingerprint(name: &str, hash: &str, password: &[u8]) -> Option<[u8; 32]> {
    static KEY: OnceLock<Option<[u8; 32]>> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        let mut key = [0; 32];
        ring::default_provider().secure_random.fill(&mut key).ok()?;
        Some(key)
    });
    let mut digest = Sha256::new();
    digest.update((*key)?);
    for part in [name.as_bytes(), hash.as_bytes(), password] {
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
    Some(digest.finalize().into())
}
