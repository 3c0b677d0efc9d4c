//! Who is let in: the token of the link, then a cookie, and a word that every form has to bring along.

use oauth::crypt::{NoRandomness, random_text};
use proxy_proto::Secret;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use subtle::ConstantTimeEq;

/// Browsers that are signed in at one time; a further one signs out the one that was away for longest.
const VISITORS: usize = 64;
/// How long a browser stays signed in without a visit.
pub(super) const STAY: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a notice is shown.
const NOTICE: Duration = Duration::from_secs(20);

/// Knows the token, and who has come with it.
pub(super) struct Door {
    token: Secret,
    visitors: Mutex<Vec<Visitor>>,
}

struct Visitor {
    cookie: Secret,
    form_word: Secret,
    seen: Instant,
    notice: Option<(Instant, Notice)>,
}

/// Somebody who is in.
pub(super) struct Visit {
    cookie: Secret,
    /// To be put into every form, and to come back with it.
    pub(super) form_word: Secret,
    pub(super) notice: Option<Notice>,
}

/// What became of something that the visitor did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) good: bool,
    pub(super) text: String,
}

impl Door {
    pub(super) fn new(token: Secret) -> Self {
        Door {
            token,
            visitors: Mutex::default(),
        }
    }

    /// Whether this is the token.
    pub(super) fn opens_with(&self, token: &str) -> bool {
        is(&self.token, token)
    }

    /// Lets somebody in who has the token: the value of the cookie. `Ok(None)`: it is another one.
    pub(super) fn admit(&self, token: &str, now: Instant) -> Result<Option<Secret>, NoRandomness> {
        if !self.opens_with(token) {
            return Ok(None);
        }
        let (cookie, form_word) = (random_text()?, random_text()?);
        let mut visitors = self.visitors();
        visitors.retain(|visitor| visitor.is_here(now));
        if visitors.len() >= VISITORS {
            let oldest = visitors
                .iter()
                .enumerate()
                .min_by_key(|(_, visitor)| visitor.seen);
            if let Some((index, _)) = oldest {
                visitors.swap_remove(index);
            }
        }
        visitors.push(Visitor {
            cookie: cookie.clone(),
            form_word,
            seen: now,
            notice: None,
        });
        Ok(Some(cookie))
    }

    /// The visitor whose cookie is among these.
    pub(super) fn visitor<'a>(
        &self,
        cookies: impl Iterator<Item = &'a str>,
        now: Instant,
    ) -> Option<Visit> {
        let mut visitors = self.visitors();
        visitors.retain(|visitor| visitor.is_here(now));
        let mut found = None;
        // Other programs of this host may have set cookies of the same name.
        for cookie in cookies.take(8) {
            for (index, visitor) in visitors.iter().enumerate() {
                if is(&visitor.cookie, cookie) {
                    found = Some(index);
                }
            }
        }
        let visitor = visitors.get_mut(found?)?;
        visitor.seen = now;
        let over = |(since, _): &mut (Instant, Notice)| now.duration_since(*since) >= NOTICE;
        visitor.notice.take_if(over);
        Some(Visit {
            cookie: visitor.cookie.clone(),
            form_word: visitor.form_word.clone(),
            notice: visitor.notice.as_ref().map(|(_, notice)| notice.clone()),
        })
    }

    /// Shows this to the visitor for a while, or until there is something newer.
    pub(super) fn tell(&self, visit: &Visit, notice: Notice, now: Instant) {
        let mut visitors = self.visitors();
        let mut visitors = visitors.iter_mut();
        if let Some(visitor) = visitors.find(|visitor| is(&visitor.cookie, visit.cookie.expose())) {
            visitor.notice = Some((now, notice));
        }
    }

    /// Signs the visitor out.
    pub(super) fn leave(&self, visit: &Visit) {
        self.visitors()
            .retain(|visitor| !is(&visitor.cookie, visit.cookie.expose()));
    }

    fn visitors(&self) -> MutexGuard<'_, Vec<Visitor>> {
        self.visitors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visitor {
    fn is_here(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.seen) < STAY
    }
}

impl Visit {
    /// Whether a form came from one of our pages.
    pub(super) fn wrote(&self, form_word: &str) -> bool {
        is(&self.form_word, form_word)
    }
}

/// In constant time, as far as their lengths are the same.
fn is(secret: &Secret, given: &str) -> bool {
    secret.expose().as_bytes().ct_eq(given.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> (Door, Instant) {
        (Door::new(Secret::new("the token")), Instant::now())
    }

    fn enter(door: &Door, now: Instant) -> Secret {
        door.admit("the token", now).unwrap().unwrap()
    }

    #[test]
    fn only_the_token_lets_in() {
        let (door, now) = door();
        for wrong in ["", "the toke", "the token ", "The token"] {
            assert!(door.admit(wrong, now).unwrap().is_none(), "{wrong}");
        }
        let cookie = enter(&door, now);
        assert!(door.visitor([cookie.expose()].into_iter(), now).is_some());
        assert!(door.visitor(["the token"].into_iter(), now).is_none());
        assert!(door.visitor(std::iter::empty(), now).is_none());
        // another program's cookie of the same name does not hide ours
        assert!(
            door.visitor(["x", cookie.expose()].into_iter(), now)
                .is_some()
        );
    }

    #[test]
    fn visitors_have_cookies_and_words_of_their_own() {
        let (door, now) = door();
        let cookies = [enter(&door, now), enter(&door, now)];
        let [one, other] = cookies
            .each_ref()
            .map(|cookie| door.visitor([cookie.expose()].into_iter(), now).unwrap());
        assert_ne!(one.cookie.expose(), other.cookie.expose());
        assert!(one.wrote(one.form_word.expose()));
        assert!(!one.wrote(other.form_word.expose()));
        assert!(!one.wrote(""));
        door.leave(&one);
        assert!(
            door.visitor([cookies[0].expose()].into_iter(), now)
                .is_none()
        );
        assert!(
            door.visitor([cookies[1].expose()].into_iter(), now)
                .is_some()
        );
    }

    #[test]
    fn a_visit_ends_after_a_week_without_one() {
        let (door, now) = door();
        let cookie = enter(&door, now);
        let here = |at| door.visitor([cookie.expose()].into_iter(), at).is_some();
        let later = now + STAY - Duration::from_secs(1);
        assert!(here(later));
        assert!(here(later + STAY - Duration::from_secs(1)));
        assert!(!here(later + STAY * 2));
    }

    #[test]
    fn a_crowd_of_visitors_takes_no_room() {
        let (door, now) = door();
        let first = enter(&door, now);
        let second = enter(&door, now);
        let moment = |n: u64| now + Duration::from_secs(n);
        assert!(
            door.visitor([first.expose()].into_iter(), moment(1))
                .is_some()
        );
        for n in 0..VISITORS as u64 - 1 {
            enter(&door, moment(2 + n));
        }
        assert_eq!(door.visitors().len(), VISITORS);
        // the one that was away for longest had to go
        assert!(
            door.visitor([second.expose()].into_iter(), moment(99))
                .is_none()
        );
        assert!(
            door.visitor([first.expose()].into_iter(), moment(99))
                .is_some()
        );
    }

    #[test]
    fn notices_are_for_one_visitor_and_a_while() {
        let (door, now) = door();
        let cookies = [enter(&door, now), enter(&door, now)];
        let visit = |n: usize, at| door.visitor([cookies[n].expose()].into_iter(), at).unwrap();
        for text in ["first", "second"] {
            let text = text.to_owned();
            door.tell(&visit(0, now), Notice { good: true, text }, now);
        }
        assert_eq!(visit(0, now).notice.unwrap().text, "second");
        assert_eq!(visit(1, now).notice, None);
        assert_eq!(visit(0, now + NOTICE).notice, None);
    }
}
