//! Properties of filters over dialogues that nobody wrote down: those that keep what they are given change nothing, whatever is
//! said and however it is cut.

use proptest::{collection::vec, prelude::*};
use proxy_proto::{
    Protocol, Side,
    filter::{Bounds, Chain, Failed, Filter, Output, Units, Verdict, Wants, framed},
};

/// Keeps every unit.
struct Keep(Wants);

impl Units for Keep {
    fn wants(&self) -> Wants {
        self.0
    }
}

/// Takes bytes and puts out the same.
struct Copy;

impl Filter for Copy {
    fn bytes(&mut self, from: Side, bytes: &[u8], out: &mut Output) -> Result<Verdict, Failed> {
        out.send(from.other(), bytes);
        Ok(Verdict::Taken)
    }
}

/// What clients and servers say, whole lines or not, and what nobody says.
fn words() -> impl Strategy<Value = Vec<u8>> {
    let said = prop::sample::select(vec![
        "a1 NOOP\r\n",
        "a2 UID FETCH 1 (FLAGS BODY[])\r\n",
        "a3 APPEND x {3+}\r\nabc\r\n",
        "a4 IDLE\r\n",
        "DONE\r\n",
        "* 1 FETCH (BODY[] {4}\r\nA: b)\r\n",
        "* 2 EXISTS\r\n",
        "+ go\r\n",
        "a1 OK done\r\n",
        "a4 NO [CANNOT] no\r\n",
        "STAT\r\n",
        "RETR 1\r\n",
        "LIST\r\n",
        "TOP 1 0\r\n",
        "+OK\r\n",
        "-ERR no\r\n",
        "Subject: x\r\n\r\n..\r\n.\r\n",
        ".\r\n",
        "MAIL FROM:<a@b>\r\n",
        "RCPT TO:<c@d>\r\n",
        "DATA\r\n",
        "BDAT 3\r\nabc",
        "BDAT 2 LAST\r\nde",
        "RSET\r\n",
        "QUIT\r\n",
        "250-one\r\n250 two\r\n",
        "354 go on\r\n",
        "550 5.7.1 no\r\n",
        "\r\n",
        "\n",
        "{",
        "}",
        "\"",
        " ",
    ])
    .prop_map(|text: &str| text.as_bytes().to_vec());
    prop_oneof![8 => said, 1 => vec(any::<u8>(), 1..40)]
}

fn dialogue() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
    vec((any::<bool>(), words()), 1..60)
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop::sample::select(vec![Protocol::Imap, Protocol::Pop, Protocol::Smtp])
}

/// What went in and what came out.
type Passed = (Vec<u8>, Vec<u8>);

/// Passes the dialogue through the chain; the server's bytes first, then the client's.
fn pass(
    chain: &mut Chain,
    dialogue: &[(bool, Vec<u8>)],
    size: usize,
) -> Result<[Passed; 2], Failed> {
    let mut passed: [Passed; 2] = Default::default();
    for (client, bytes) in dialogue {
        let from = if *client { Side::Client } else { Side::Server };
        passed[usize::from(*client)].0.extend_from_slice(bytes);
        for piece in bytes.chunks(size) {
            chain.pass(from, piece, &mut |to, bytes| {
                passed[usize::from(to == Side::Server)]
                    .1
                    .extend_from_slice(bytes)
            })?;
        }
    }
    Ok(passed)
}

proptest! {
    #[test]
    fn bytes_pass_filters_that_change_nothing(
        dialogue in dialogue(), size in 1..50_usize, count in 0..4_usize,
    ) {
        let mut chain = Chain::new((0..count).map(|_| Box::new(Copy) as Box<dyn Filter>).collect());
        for (sent, received) in pass(&mut chain, &dialogue, size).unwrap() {
            prop_assert_eq!(sent, received);
        }
    }

    /// What has come out is always a beginning of what went in. The rest is held, where a unit is not complete or an answer
    /// is waited for. With contents it would be another one: the framer then speaks for the server at times.
    #[test]
    fn units_that_are_kept_come_out_as_they_were(
        protocol in protocol(), dialogue in dialogue(), size in 1..50_usize, unit in 8..200_usize,
        command in any::<bool>(), response in any::<bool>(),
    ) {
        // A literal that is waited for is asked for by the framer itself.
        let synchronising = |bytes: &[u8]| {
            protocol == Protocol::Imap && command && bytes.contains(&b'}') && !bytes.windows(2).any(|two| two == b"+}")
        };
        let dialogue: Vec<_> = dialogue.into_iter().filter(|(client, bytes)| !*client || !synchronising(bytes)).collect();
        let wants = Wants { command, response, ..Wants::default() };
        let bounds = Bounds { unit, ..Bounds::default() };
        let mut chain = Chain::new(vec![framed(protocol, Box::new(Keep(wants)), bounds)]);
        for (sent, received) in pass(&mut chain, &dialogue, size).unwrap() {
            prop_assert!(sent.starts_with(&received), "{:?} came of {:?}",
                String::from_utf8_lossy(&received), String::from_utf8_lossy(&sent));
        }
    }

    /// With contents nothing panics and nothing grows beyond what is collected.
    #[test]
    fn hostile_contents_are_bounded(protocol in protocol(), dialogue in dialogue(), size in 1..50_usize) {
        let wants = Wants { command: true, response: true, header: true, message: true, part: true };
        let bounds = Bounds { unit: 64, header: 64, message: 128 };
        let mut chain = Chain::new(vec![framed(protocol, Box::new(Keep(wants)), bounds)]);
        let passed = pass(&mut chain, &dialogue, size);
        if let Ok(passed) = passed {
            let sent: usize = passed.iter().map(|(sent, _)| sent.len()).sum();
            let received: usize = passed.iter().map(|(_, received)| received.len()).sum();
            // What it says for the server or the client is a line for each of theirs.
            prop_assert!(received <= sent + 100 * (dialogue.len() + 1) * 4);
        }
    }
}
