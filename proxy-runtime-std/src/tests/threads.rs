//! What happens on which thread.

use crate::Runtime;
use proxy_proto::Protocol;
use proxy_runtime::testing::{Lines, Stage, until};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};
use tracing::{
    Event, Metadata, Subscriber,
    span::{Attributes, Id, Record},
    subscriber::set_global_default,
};

/// Notes the threads on which spans of sessions begin and end.
#[derive(Default)]
struct Ends {
    last: AtomicU64,
    /// The number of handles of each one that is open.
    open: Mutex<HashMap<u64, usize>>,
    begun_on: Mutex<Vec<String>>,
    ended_on: Mutex<Vec<String>>,
}

fn this_thread() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

impl Subscriber for Ends {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.name() == "session"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        let id = self.last.fetch_add(1, Ordering::SeqCst) + 1;
        self.open.lock().unwrap().insert(id, 1);
        self.begun_on.lock().unwrap().push(this_thread());
        Id::from_u64(id)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}

    fn clone_span(&self, id: &Id) -> Id {
        let mut open = self.open.lock().unwrap();
        *open.get_mut(&id.into_u64()).unwrap() += 1;
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let mut open = self.open.lock().unwrap();
        let handles = open.get_mut(&id.into_u64()).unwrap();
        *handles -= 1;
        let ended = *handles == 0;
        if ended {
            open.remove(&id.into_u64());
            self.ended_on.lock().unwrap().push(this_thread());
        }
        ended
    }
}

/// Else a logger that numbers such threads runs out of numbers.
#[test]
fn threads_of_sessions_neither_begin_spans_nor_end_them() {
    let ends = Arc::new(Ends::default());
    set_global_default(ends.clone()).unwrap();
    let stage = Stage::<Runtime>::new(Protocol::Pop);
    let (mut client, server) = stage.connected(stage.session(), |mut server, protocol| {
        server.greet(protocol);
        server.take_login(protocol).unwrap();
        server.echo();
    });
    client.hear_from("+OK");
    client.say("AUTH PLAIN AHVzZXJAZXhhbXBsZS5jb20AcmlnaHQ=\r\n");
    client.hear_from("+OK");
    drop(client);
    server.join().unwrap();
    // One that leaves while the server is being connected to.
    drop(Lines::connect(stage.runtime.listeners()[0].addresses[0]));
    stage.sessions_are_gone();
    // Sessions of other tests may be open.
    until("two ends", || ends.ended_on.lock().unwrap().len() >= 2);
    for (threads, only) in [(&ends.begun_on, "accept"), (&ends.ended_on, "spans")] {
        let threads = threads.lock().unwrap();
        assert!(threads.iter().all(|name| name == only), "{threads:?}");
    }
}
