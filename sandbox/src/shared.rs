//! What the servers, `Control` and `Log` have in common.

use crate::{
    Protocol, ReceivedLine, ReceivedMail, Service, TokenRequest,
    control::Behaviour,
    listen::Switch,
    log::{Record, push, push_sized},
    mail::mailbox::Store,
    provider::state::State,
    tls::Authority,
};
use event_listener::{Event, EventListener};
use std::{
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The state of one sandbox.
pub(crate) struct Shared {
    pub(crate) authority: Authority,
    pub(crate) mail: Store,
    provider: State,
    /// Scheme, host and port of the provider, without a slash at the end.
    pub(crate) provider_url: String,
    pub(crate) https: bool,
    behaviour: Mutex<Behaviour>,
    record: Mutex<Record>,
    changed: Condvar,
    connections: AtomicU64,
    closing: [Event; Service::ALL.len()],
    switches: Vec<(Service, async_channel::Sender<Switch>)>,
}

impl Shared {
    pub(crate) fn new(
        authority: Authority,
        mail: Store,
        provider: State,
        provider_url: String,
        https: bool,
        switches: Vec<(Service, async_channel::Sender<Switch>)>,
    ) -> Shared {
        Shared {
            authority,
            mail,
            provider,
            provider_url,
            https,
            behaviour: Mutex::default(),
            record: Mutex::default(),
            changed: Condvar::new(),
            connections: AtomicU64::new(0),
            closing: Default::default(),
            switches,
        }
    }

    pub(crate) fn provider(&self) -> &State {
        &self.provider
    }

    pub(crate) fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        // Nothing that is done under these locks leaves the value half changed.
        self.behaviour
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wait_for_change<'a>(
        &self,
        record: MutexGuard<'a, Record>,
        limit: Duration,
    ) -> MutexGuard<'a, Record> {
        self.changed
            .wait_timeout(record, limit)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    /// Records something and wakes those who wait for it.
    fn note<T>(&self, change: impl FnOnce(&mut Record) -> T) -> T {
        let mut record = self.record();
        record.changes += 1;
        let result = change(&mut record);
        drop(record);
        self.changed.notify_all();
        result
    }

    /// Records a token request; the number is for [`Shared::note_token_answer`].
    pub(crate) fn note_token_request(&self, request: TokenRequest) -> u64 {
        self.note(|record| {
            record.dropped_token_requests += push(&mut record.token_requests, request);
            record.dropped_token_requests + record.token_requests.len() as u64 - 1
        })
    }

    pub(crate) fn note_token_answer(&self, number: u64, status: u16) {
        self.note(|record| {
            let index = number.checked_sub(record.dropped_token_requests);
            let request = index.and_then(|index| record.token_requests.get_mut(index as usize));
            if let Some(request) = request {
                request.status = Some(status);
            }
        });
    }

    pub(crate) fn note_authorization(&self, parameters: Vec<(String, String)>) {
        self.note(|record| push(&mut record.authorizations, parameters));
    }

    pub(crate) fn note_line(&self, line: ReceivedLine) {
        self.note(|record| {
            push_sized(&mut record.lines, &mut record.line_octets, line, |line| {
                line.line.len()
            });
        });
    }

    pub(crate) fn note_mail(&self, mail: ReceivedMail) {
        self.note(|record| {
            push_sized(&mut record.mails, &mut record.mail_octets, mail, |mail| {
                mail.message.len()
            });
        });
    }

    pub(crate) fn note_login(&self, protocol: Protocol) {
        self.note(|record| *record.logins.entry(protocol).or_default() += 1);
    }

    /// Counts a connection until the guard is dropped.
    pub(crate) fn opened(self: &Arc<Self>, service: Service) -> Open {
        self.note(|record| {
            *record.connections.entry(service).or_default() += 1;
            *record.open.entry(service).or_default() += 1;
        });
        let number = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        Open {
            shared: self.clone(),
            service,
            number,
        }
    }

    pub(crate) fn open_connections(&self) -> usize {
        self.record().open.values().sum()
    }

    pub(crate) fn listen_for_close(&self, service: Service) -> EventListener {
        self.closing[service as usize].listen()
    }

    pub(crate) fn close_connections(&self, service: Service) {
        self.closing[service as usize].notify(usize::MAX);
    }

    pub(crate) fn refuse_connections(&self, service: Service, refuse: bool) -> io::Result<()> {
        let ended = || io::Error::other("the sandbox has ended");
        for (_, switch) in self.switches.iter().filter(|(of, _)| *of == service) {
            let (done, answer) = async_channel::bounded(1);
            switch
                .send_blocking(Switch { refuse, done })
                .map_err(|_| ended())?;
            answer.recv_blocking().map_err(|_| ended())??;
        }
        Ok(())
    }
}

/// An open connection, counted.
pub(crate) struct Open {
    shared: Arc<Shared>,
    service: Service,
    pub(crate) number: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.note(|record| {
            if let Some(open) = record.open.get_mut(&self.service) {
                *open = open.saturating_sub(1);
            }
        });
    }
}
