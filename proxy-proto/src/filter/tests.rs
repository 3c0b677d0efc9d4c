use super::*;

/// Marks what passes, answers what it is told to, and asks what it is told to.
struct Marker {
    name: &'static str,
    /// Bytes from the client that are answered instead of passed.
    answers: &'static str,
    /// Sent to the server before anything of the server's is passed.
    asks: &'static str,
}

impl Marker {
    fn boxed(name: &'static str, answers: &'static str, asks: &'static str) -> Box<dyn Filter> {
        Box::new(Marker {
            name,
            answers,
            asks,
        })
    }
}

impl Filter for Marker {
    fn bytes(&mut self, from: Side, bytes: &[u8], out: &mut Output) -> Result<Verdict, Failed> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        if from == Side::Client && text.contains(self.answers) && !self.answers.is_empty() {
            out.send(Side::Client, format!("{}:answer ", self.name).as_bytes());
            return Ok(Verdict::Taken);
        }
        if from == Side::Server && !self.asks.is_empty() {
            out.send(Side::Server, self.asks.as_bytes());
        }
        out.send(from.other(), format!("{}:{text}", self.name).as_bytes());
        Ok(Verdict::Taken)
    }
}

fn run(chain: &mut Chain, from: Side, text: &str) -> (String, String) {
    let mut out = [Vec::new(), Vec::new()];
    chain
        .pass(from, text.as_bytes(), &mut |to, bytes| {
            out[usize::from(to == Side::Server)].extend_from_slice(bytes)
        })
        .unwrap();
    let [client, server] = out.map(|bytes| String::from_utf8(bytes).unwrap());
    (client, server)
}

fn three(asks: &'static str) -> Chain {
    Chain::new(vec![
        Marker::boxed("a", "", ""),
        Marker::boxed("b", "question", asks),
        Marker::boxed("c", "", ""),
    ])
}

#[test]
fn first_to_last_to_the_server_and_back() {
    let mut chain = three("");
    assert_eq!(run(&mut chain, Side::Client, "x").1, "c:b:a:x");
    assert_eq!(run(&mut chain, Side::Server, "x").0, "a:b:c:x");
}

#[test]
fn what_a_filter_sends_goes_on_from_its_place() {
    let mut chain = three("ask ");
    assert_eq!(
        run(&mut chain, Side::Client, "question"),
        ("a:b:answer ".into(), String::new())
    );
    let (client, server) = run(&mut chain, Side::Server, "x");
    assert_eq!((&*client, &*server), ("a:b:c:x", "c:ask "));
}

#[test]
fn an_empty_chain_passes_everything() {
    assert_eq!(run(&mut Chain::new(vec![]), Side::Client, "x").1, "x");
    assert_eq!(run(&mut Chain::new(vec![]), Side::Server, "x").0, "x");
}

/// Sends everything back to where it came from.
struct Mirror;

impl Filter for Mirror {
    fn bytes(&mut self, from: Side, bytes: &[u8], out: &mut Output) -> Result<Verdict, Failed> {
        out.send(from, bytes);
        Ok(Verdict::Taken)
    }
}

#[test]
fn filters_that_answer_each_other_come_to_an_end() {
    struct Opener;
    impl Filter for Opener {
        fn bytes(&mut self, _: Side, bytes: &[u8], out: &mut Output) -> Result<Verdict, Failed> {
            out.send(Side::Server, bytes);
            Ok(Verdict::Taken)
        }
    }
    let mut chain = Chain::new(vec![Box::new(Opener), Box::new(Mirror)]).limit_output(100_000);
    let error = chain.pass(Side::Client, b"x", &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("without end"), "{error}");
}

#[test]
fn output_is_bounded() {
    struct Flood;
    impl Filter for Flood {
        fn bytes(&mut self, _: Side, _: &[u8], out: &mut Output) -> Result<Verdict, Failed> {
            for _ in 0..1000 {
                out.send(Side::Client, &[b'x'; 1000]);
            }
            assert!(out.pieces[0].1.len() <= 100_000);
            Ok(Verdict::Taken)
        }
    }
    let mut chain = Chain::new(vec![Box::new(Flood)]).limit_output(100_000);
    assert!(chain.pass(Side::Client, b"x", &mut |_, _| {}).is_err());
}

#[test]
fn kept_bytes_follow_what_was_sent() {
    struct Before;
    impl Filter for Before {
        fn bytes(&mut self, from: Side, _: &[u8], out: &mut Output) -> Result<Verdict, Failed> {
            out.send(from.other(), b"before ");
            Ok(Verdict::Keep)
        }
    }
    let mut chain = Chain::new(vec![Box::new(Before), Marker::boxed("b", "", "")]);
    assert_eq!(run(&mut chain, Side::Client, "x").1, "b:before b:x");
}

#[test]
fn the_end_lets_go_what_is_held() {
    struct Holder(Vec<u8>);
    impl Filter for Holder {
        fn bytes(&mut self, _: Side, bytes: &[u8], _: &mut Output) -> Result<Verdict, Failed> {
            self.0.extend_from_slice(bytes);
            Ok(Verdict::Taken)
        }
        fn end(&mut self, from: Side, out: &mut Output) -> Result<(), Failed> {
            out.send(from.other(), &std::mem::take(&mut self.0));
            Ok(())
        }
    }
    let holders =
        || -> Vec<Box<dyn Filter>> { vec![Box::new(Holder(vec![])), Box::new(Holder(vec![]))] };
    for from in [Side::Client, Side::Server] {
        let mut chain = Chain::new(holders());
        let mut out = Vec::new();
        chain
            .pass(from, b"held", &mut |_, _| panic!("nothing goes on"))
            .unwrap();
        chain
            .end(from, &mut |to, bytes| {
                assert_eq!(to, from.other());
                out.extend_from_slice(bytes)
            })
            .unwrap();
        assert_eq!(out, b"held");
    }
}

mod in_a_session {
    use super::*;
    use crate::{Bearer, Event, Protocol, Reason, Secret, Session, SessionConfig, Time, Upstream};

    fn logged_in(filters: Filters) -> (Session, Vec<Event>) {
        let mut config = SessionConfig::new(Protocol::Imap);
        config.filters = Some(filters);
        let mut session = Session::new(Arc::new(config), Time::ZERO);
        let upstream = Upstream {
            host: "imap.example".into(),
            port: 993,
            secure: true,
        };
        session.connected(upstream, Time::ZERO);
        let greeting = b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] hi\r\n";
        session.handle_input(Side::Server, greeting, Time::ZERO);
        session.handle_input(
            Side::Client,
            b"a1 LOGIN me@example pw\r\na2 NOOP\r\n",
            Time::ZERO,
        );
        let mut events = Vec::new();
        while let Some(event) = session.poll_event() {
            if let Event::NeedCredentials { id, login, .. } = &event {
                let bearer = Bearer {
                    token: Secret::new("t"),
                    user: "boss@example".into(),
                    mechanism: None,
                };
                assert_eq!(&*login.user, "me@example");
                session
                    .provide_credentials(*id, Ok(bearer), Time::ZERO)
                    .unwrap();
            }
        }
        for side in [Side::Client, Side::Server] {
            session.advance(side, usize::MAX);
        }
        session.handle_input(Side::Server, b"* LIST x\r\na1 OK done\r\n", Time::ZERO);
        events.extend(std::iter::from_fn(|| session.poll_event()));
        (session, events)
    }

    fn sent(session: &mut Session, to: Side) -> String {
        let text = String::from_utf8(session.transmit(to).to_vec()).unwrap();
        session.advance(to, usize::MAX);
        text
    }

    #[test]
    fn filters_see_everything_from_the_answer_to_the_login_on() {
        let filters = Filters::new(|opened| {
            assert_eq!(
                (&*opened.login, &*opened.user),
                ("me@example", "boss@example")
            );
            Ok(Chain::new(vec![Marker::boxed("f", "", "")]))
        });
        let (mut session, events) = logged_in(filters);
        assert!(
            matches!(events[..], [Event::Authenticated { .. }]),
            "{events:?}"
        );
        assert_eq!(
            sent(&mut session, Side::Client),
            "f:* LIST x\r\nf:a1 OK done\r\n"
        );
        assert_eq!(sent(&mut session, Side::Server), "f:a2 NOOP\r\n");
        assert!(
            session.poll_event().is_none(),
            "the relay is the session's own"
        );
        session.handle_input(Side::Server, b"a2 OK\r\n", Time::ZERO);
        assert_eq!(sent(&mut session, Side::Client), "f:a2 OK\r\n");
        session.handle_eof(Side::Client, Time::ZERO);
        session.handle_eof(Side::Server, Time::ZERO);
        let events: Vec<_> = std::iter::from_fn(|| session.poll_event()).collect();
        assert!(
            matches!(events.last(), Some(Event::Closed(Reason::Finished))),
            "{events:?}"
        );
    }

    #[test]
    fn a_failing_filter_ends_the_session() {
        struct Fails;
        impl Filter for Fails {
            fn bytes(&mut self, _: Side, bytes: &[u8], _: &mut Output) -> Result<Verdict, Failed> {
                match bytes.starts_with(b"a2") {
                    true => Err(Failed("the plugin x failed".into())),
                    false => Ok(Verdict::Keep),
                }
            }
        }
        let (mut session, _) = logged_in(Filters::new(|_| Ok(Chain::new(vec![Box::new(Fails)]))));
        assert_eq!(
            sent(&mut session, Side::Client),
            "* LIST x\r\na1 OK done\r\n"
        );
        assert_eq!(sent(&mut session, Side::Server), "");
        let ended = Event::Closed(Reason::Filter("the plugin x failed".into()));
        let last = std::iter::from_fn(|| session.poll_event()).last();
        assert_eq!(format!("{last:?}"), format!("{:?}", Some(ended)));
    }

    #[test]
    fn a_chain_that_cannot_be_made_ends_the_session_at_once() {
        let (session, events) = logged_in(Filters::new(|_| Err(Failed("no".into()))));
        assert!(matches!(
            events.last(),
            Some(Event::Closed(Reason::Filter(_)))
        ));
        assert_eq!(session.transmit(Side::Client), b"");
    }

    #[test]
    fn silence_after_one_side_has_ended_is_bounded() {
        let keep = Filters::new(|_| Ok(Chain::new(vec![])));
        let (mut session, _) = logged_in(keep);
        sent(&mut session, Side::Client);
        sent(&mut session, Side::Server);
        session.handle_eof(Side::Client, Time::from_secs(10));
        assert_eq!(session.poll_timeout(), Some(Time::from_secs(310)));
        session.handle_input(Side::Server, b"* 1 EXISTS\r\n", Time::from_secs(200));
        assert_eq!(session.poll_timeout(), Some(Time::from_secs(500)));
        sent(&mut session, Side::Client);
        session.handle_timeout(Time::from_secs(500));
        let last = std::iter::from_fn(|| session.poll_event()).last();
        assert!(matches!(
            last,
            Some(Event::Closed(Reason::TimedOut(Side::Server, _)))
        ));
    }

    #[test]
    fn a_drain_ends_soon_after_the_server_has_spoken() {
        let keep = Filters::new(|_| Ok(Chain::new(vec![])));
        let (mut session, _) = logged_in(keep);
        sent(&mut session, Side::Client);
        sent(&mut session, Side::Server);
        // The client has asked: the server may take its time.
        session.handle_input(Side::Client, b"a3 FETCH\r\n", Time::from_secs(10));
        session.shutdown(Time::from_secs(10));
        assert_eq!(session.poll_timeout(), Some(Time::from_secs(20)));
        session.handle_input(Side::Server, b"a3 OK\r\n", Time::from_secs(12));
        assert_eq!(session.poll_timeout(), Some(Time::from_secs(13)));
        assert_eq!(sent(&mut session, Side::Client), "a3 OK\r\n");
        session.handle_timeout(Time::from_secs(13));
        let last = std::iter::from_fn(|| session.poll_event()).last();
        assert!(
            matches!(last, Some(Event::Closed(Reason::Shutdown))),
            "{last:?}"
        );
    }
}
