//! The connections of this process, by the number a cancel request names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// One connection, as others reach it.
#[derive(Debug)]
pub struct Backend {
    pid: i32,
    secret: i32,
    /// What a cancel request cancels: tokens of the statement that runs now.
    statement: Mutex<Vec<CancellationToken>>,
    /// Ends the session after its current statement is cancelled.
    terminate: CancellationToken,
    user: String,
}

impl Backend {
    /// The number of the connection: `pg_backend_pid()`.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// What a cancel request must know.
    pub fn secret(&self) -> i32 {
        self.secret
    }

    /// The user of the session.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// A token that a cancel request for this statement cancels.
    pub fn begin(&self) -> CancellationToken {
        let token = CancellationToken::new();
        *self.lock() = vec![token.clone()];
        token
    }

    /// A token that a cancel request for this statement cancels too.
    pub fn attach(&self, token: CancellationToken) {
        self.lock().push(token);
    }

    /// No statement runs any more: a cancel request that comes late must not hit the next one.
    pub fn end(&self) {
        self.lock().clear();
    }

    /// Cancels the running statement; false without one.
    pub fn cancel(&self) -> bool {
        let tokens = self.lock();
        tokens.iter().for_each(CancellationToken::cancel);
        !tokens.is_empty()
    }

    /// Ends the session.
    pub fn terminate(&self) {
        self.terminate.cancel();
    }

    /// Is cancelled once the session must end.
    pub fn terminated(&self) -> &CancellationToken {
        &self.terminate
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<CancellationToken>> {
        self.statement.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Inner {
    next: i32,
    backends: HashMap<i32, Arc<Backend>>,
}

/// All connections that have a session.
#[derive(Debug)]
pub struct Registry {
    maximum: usize,
    inner: Mutex<Inner>,
}

/// A place in the registry, given back on drop.
#[derive(Debug)]
pub struct Registration {
    registry: Arc<Registry>,
    backend: Arc<Backend>,
}

impl Registration {
    /// The connection.
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.lock().backends.remove(&self.backend.pid);
    }
}

impl Registry {
    /// A registry for at most so many connections.
    pub fn new(maximum: usize) -> Self {
        Registry {
            maximum,
            inner: Mutex::default(),
        }
    }

    /// A place for a new connection; None when there is no more room.
    pub fn register(self: &Arc<Self>, user: &str) -> Option<Registration> {
        let mut inner = self.lock();
        if inner.backends.len() >= self.maximum {
            return None;
        }
        let pid = loop {
            inner.next = if inner.next == i32::MAX { 1 } else { inner.next + 1 };
            if !inner.backends.contains_key(&inner.next) {
                break inner.next;
            }
        };
        let backend = Arc::new(Backend {
            pid,
            secret: rand::random(),
            statement: Mutex::default(),
            terminate: CancellationToken::new(),
            user: user.to_owned(),
        });
        inner.backends.insert(pid, Arc::clone(&backend));
        Some(Registration {
            registry: Arc::clone(self),
            backend,
        })
    }

    /// Cancels what the connection `pid` runs, if `secret` is its own.
    pub fn cancel(&self, pid: i32, secret: i32) -> bool {
        let backend = self.backend(pid).filter(|backend| backend.secret == secret);
        backend.is_some_and(|backend| backend.cancel())
    }

    /// The connection with this number.
    pub fn backend(&self, pid: i32) -> Option<Arc<Backend>> {
        self.lock().backends.get(&pid).cloned()
    }

    /// Every connection, by number.
    pub fn backends(&self) -> Vec<Arc<Backend>> {
        let mut backends: Vec<_> = self.lock().backends.values().cloned().collect();
        backends.sort_by_key(|backend| backend.pid);
        backends
    }

    /// How many connections may be open at once.
    pub fn maximum(&self) -> usize {
        self.maximum
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_secret_cancels_and_only_while_a_statement_runs() {
        let registry = Arc::new(Registry::new(2));
        let first = registry.register("ann").unwrap();
        let second = registry.register("bob").unwrap();
        assert!(registry.register("eve").is_none());
        let backend = first.backend();
        assert!(!registry.cancel(backend.pid(), backend.secret()));
        let token = backend.begin();
        assert!(!registry.cancel(backend.pid(), backend.secret().wrapping_add(1)));
        assert!(!registry.cancel(second.backend().pid(), backend.secret()));
        assert!(!token.is_cancelled());
        assert!(registry.cancel(backend.pid(), backend.secret()));
        assert!(token.is_cancelled());
        backend.end();
        assert!(!registry.cancel(backend.pid(), backend.secret()));
        drop(second);
        assert!(registry.register("eve").is_some());
        assert_eq!(registry.backends().len(), 1);
    }
}
