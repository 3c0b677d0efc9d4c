//! Tokens in AWS Secrets Manager.

use super::{Pace, Saved, Store, StoreError, Update};
use crate::{crypt, messages::aws as messages};
use contents::{Contents, Unfit};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

mod contents;
mod http;
mod secret;

/// One secret in AWS Secrets Manager that holds a JSON object of accounts, each an object of options: what the Python tool keeps there.
///
/// Credentials, region and endpoint come from the SDK's standard chain (`AWS_…` variables, profiles, SSO, web identity, external
/// programs, containers, instances; `AWS_ENDPOINT_URL`). The secret is created when it is missing.
///
/// # Several proxies on one secret
///
/// A save reads the secret, changes the options concerned, and makes the result current **only if what it has read is still
/// current**; else it begins again. Nothing that another replica has saved is lost, whatever the order. That takes
/// `secretsmanager:UpdateSecretVersionStage` beside `GetSecretValue`, `PutSecretValue` and `CreateSecret`.
///
/// Where that permission is missing, a save puts its version, and looks whether it has overwritten another one: that one's changes
/// are then put back. This misses a change when three replicas write within the same moment. A program that writes the secret
/// without reading it first (the Python tool does) overwrites what others saved, and no permission helps.
///
/// # Limits
///
/// A secret holds 64 KiB: some 10 to 20 accounts where access tokens are 2 KB long. Where it gets too small, access tokens are left
/// out, those that end first before the others; then it holds some 40 refresh tokens of 1 KB.
///
/// AWS takes about a hundred writes of a secret in 24 hours. So writes are few ([`Store::pace`]): what comes within a second goes
/// together; access tokens, which can be had again, wait up to 20 minutes for the next write; a refresh token that the provider has
/// replaced is written at once, as long as there have been fewer than 20 writes beyond one in 20 minutes, and waits in memory for
/// the next one after that. With that one proxy may have as many accounts as the secret holds. Several proxies on one secret share
/// the hundred writes without knowing of each other: where AWS refuses one, the [`Saver`](super::Saver) keeps the tokens in memory,
/// and AWS is asked again 20 minutes later.
pub struct AwsStore {
    versions: Box<dyn Versions>,
    /// What was read or written last, and when. Held during a read, so that logins that come together share it.
    read: Mutex<Option<Read>>,
    /// Held during a save: one at a time from this process.
    writing: Mutex<()>,
    /// Making a version current under a condition is not allowed.
    unconditional: AtomicBool,
    /// AWS has refused to take more writes, and is not asked before this time.
    exhausted: Mutex<Option<Instant>>,
}

struct Read {
    at: Instant,
    result: Result<Arc<Contents>, StoreError>,
}

/// How long what was read serves: a login reads its account and its catch-alls.
const FRESH: Duration = Duration::from_secs(5);
/// The same for a failure: those who waited for it do not each wait for their own.
const FRESH_FAILURE: Duration = Duration::from_secs(1);

/// What Secrets Manager takes as the text of a secret, in octets.
const MAX_TEXT: usize = 65_536;

/// AWS keeps every version for 24 hours, and about a hundred in all. Twenty at once and one in 20 minutes are 92 in the worst day.
const PACE: Pace = Pace {
    gather: Duration::from_secs(1),
    interval: Duration::from_secs(20 * 60),
    burst: 19,
};

/// How often a save begins again because others have saved meanwhile.
const ATTEMPTS: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl AwsStore {
    /// The secret `NAME-or-ARN`, or `PROFILE||NAME-or-ARN` to take credentials and region from a profile of the AWS configuration
    /// files. Does not reach for the secret yet, but may ask this machine's metadata service for the region: it blocks.
    ///
    /// # Errors
    /// The name cannot be one of a secret, or no region is known.
    pub fn open(id: &str) -> Result<AwsStore, StoreError> {
        Ok(AwsStore::over(Box::new(secret::Secret::open(id)?)))
    }

    fn over(versions: Box<dyn Versions>) -> AwsStore {
        AwsStore {
            versions,
            read: Mutex::default(),
            writing: Mutex::default(),
            unconditional: AtomicBool::new(false),
            exhausted: Mutex::default(),
        }
    }

    /// What the secret holds, as of a few seconds ago at most.
    fn contents(&self) -> Result<Arc<Contents>, StoreError> {
        let mut read = locked(&self.read);
        if let Some(read) = &*read {
            let fresh = if read.result.is_ok() {
                FRESH
            } else {
                FRESH_FAILURE
            };
            if read.at.elapsed() < fresh {
                return read.result.clone();
            }
        }
        let result = match self.versions.current() {
            Ok(Some(version)) => self.parse(&version.text).map(Arc::new),
            Ok(None) => Ok(Arc::default()),
            Err(fault) => Err(self.failed(fault)),
        };
        *read = Some(Read {
            at: Instant::now(),
            result: result.clone(),
        });
        result
    }

    fn remember(&self, result: Result<Contents, StoreError>) {
        *locked(&self.read) = Some(Read {
            at: Instant::now(),
            result: result.map(Arc::new),
        });
    }

    /// Reads, changes and writes until nobody has come in between. Says of each update whether it was made.
    fn write(&self, updates: &[Update]) -> Result<Vec<bool>, StoreError> {
        let _writing = locked(&self.writing);
        if let Some(left) = self.exhausted_for() {
            let minutes = left.as_secs() / 60 + 1;
            return Err(StoreError(messages::no_more_versions(
                self.describe(),
                minutes,
            )));
        }
        let mut made = Vec::new();
        let contents = self.written(|contents| {
            made.clear();
            for update in updates {
                made.push(match &update.seen {
                    Some(_) => update.fits(&contents.saved(&update.heading)?),
                    None => true,
                });
            }
            let fitting = updates.iter().zip(&made).filter(|(_, made)| **made);
            contents.with(fitting.map(|(update, _)| update))
        })?;
        self.remember(Ok(contents));
        Ok(made)
    }

    fn exhausted_for(&self) -> Option<Duration> {
        let until = (*locked(&self.exhausted))?;
        until
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
    }

    /// What the secret holds in the end.
    fn written(
        &self,
        mut changed: impl FnMut(&Contents) -> Result<Option<Contents>, Unfit>,
    ) -> Result<Contents, StoreError> {
        let mut changed =
            |contents: &Contents| changed(contents).map_err(|unfit| self.unfit(&unfit));
        let mut exists = self.versions.by_arn();
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                std::thread::sleep(pause(attempt));
            }
            let Some(base) = self
                .versions
                .current()
                .map_err(|fault| self.failed(fault))?
            else {
                let Some(first) = changed(&Contents::default())? else {
                    return Ok(Contents::default());
                };
                let (first, text) = self.fitting(first)?;
                let made = if exists {
                    self.versions.put(&text).map(drop)
                } else {
                    self.versions.create(&text)
                };
                match made {
                    Ok(()) => return Ok(first),
                    // Another replica was faster, or the secret has no value yet; the next look shows which.
                    Err(Fault::Exists) => exists = true,
                    Err(fault) => return Err(self.failed(fault)),
                }
                continue;
            };
            let old = self.parse(&base.text)?;
            let Some(new) = changed(&old)? else {
                return Ok(old);
            };
            let (new, text) = self.fitting(new)?;
            let written = if self.unconditional.load(Ordering::Relaxed) {
                self.put(base, old, new)?
            } else {
                match self.replace(&base, &text) {
                    Ok(()) => Some(new),
                    Err(Fault::Conflict) => None,
                    Err(Fault::NotAllowed) => {
                        self.unconditional.store(true, Ordering::Relaxed);
                        tracing::info!("{}", messages::allow_more(self.describe()));
                        self.put(base, old, new)?
                    }
                    Err(fault) => return Err(self.failed(fault)),
                }
            };
            if let Some(contents) = written {
                return Ok(contents);
            }
        }
        Err(StoreError(messages::always_others(
            self.describe(),
            ATTEMPTS,
        )))
    }

    /// Makes the text current where `base` still is.
    fn replace(&self, base: &Version, text: &str) -> Result<(), Fault> {
        let staged = self.versions.stage(text)?;
        let result = self.versions.promote(&base.id, &staged);
        if matches!(result, Err(Fault::Conflict)) {
            // Where the answer to a first attempt was lost, the SDK's second one finds it done.
            let current = self.versions.current()?;
            if current.is_some_and(|current| current.id == staged) {
                return Ok(());
            }
        }
        result
    }

    /// Makes `new` current whatever is, and then puts back what was written since `base` was read. None: another one has come after,
    /// so look again whether the changes are still there.
    fn put(
        &self,
        base: Version,
        old: Contents,
        new: Contents,
    ) -> Result<Option<Contents>, StoreError> {
        let failed = |fault| self.failed(fault);
        let (mut base, mut old, mut new) = (base, old, new);
        for _ in 0..ATTEMPTS {
            let text;
            (new, text) = self.fitting(new)?;
            let id = self.versions.put(&text).map_err(failed)?;
            let now = self.versions.current().map_err(failed)?;
            let Some(now) = now.filter(|now| now.id == id) else {
                return Ok(None);
            };
            let between = self.versions.previous().map_err(failed)?;
            // An older one can only be an answer that is behind the times.
            let between = between.filter(|one| one.id != base.id && one.created >= base.created);
            let Some(between) = between else {
                return Ok(Some(new));
            };
            let theirs = self.parse(&between.text)?;
            let both = new
                .carrying(&old, &theirs)
                .map_err(|unfit| self.unfit(&unfit))?;
            if both.text() == new.text() {
                return Ok(Some(new));
            }
            (base, old, new) = (now, new, both);
        }
        Ok(None)
    }

    fn parse(&self, text: &str) -> Result<Contents, StoreError> {
        Contents::parse(text).map_err(|unfit| self.unfit(&unfit))
    }

    /// The same without as many access tokens as is necessary; they can be had again.
    fn fitting(&self, contents: Contents) -> Result<(Contents, String), StoreError> {
        let mut contents = contents;
        let mut text = contents.text();
        while text.len() > MAX_TEXT && contents.shed().map_err(|unfit| self.unfit(&unfit))? {
            text = contents.text();
        }
        if text.len() <= MAX_TEXT {
            return Ok((contents, text));
        }
        Err(StoreError(messages::too_small(
            self.describe(),
            text.len(),
            MAX_TEXT,
        )))
    }

    fn unfit(&self, Unfit(why): &Unfit) -> StoreError {
        StoreError(messages::unfit(self.describe(), why))
    }

    fn missing(&self) -> StoreError {
        StoreError(messages::no_such_secret(self.describe()))
    }

    fn failed(&self, fault: Fault) -> StoreError {
        match fault {
            Fault::Other(error) => error,
            Fault::Exhausted(error) => {
                *locked(&self.exhausted) = Some(Instant::now() + PACE.interval);
                error
            }
            Fault::Missing => self.missing(),
            Fault::Exists | Fault::Conflict | Fault::NotAllowed => {
                StoreError(messages::others(self.describe()))
            }
        }
    }
}

impl Store for AwsStore {
    fn load(&self, heading: &str) -> Result<Saved, StoreError> {
        let contents = self.contents()?;
        contents.saved(heading).map_err(|unfit| self.unfit(&unfit))
    }

    /// All that fit or none, as one version. Where nothing but `last_activity` would change, nothing is written.
    fn save_all(&self, updates: &[Update]) -> Result<Vec<bool>, StoreError> {
        self.write(updates)
    }

    fn pace(&self) -> Option<Pace> {
        Some(PACE)
    }

    /// Reads the secret, and creates it (empty) when it is missing, so that a missing permission is known before the first login.
    fn prepare(&self) -> Result<(), StoreError> {
        let _writing = locked(&self.writing);
        match self.versions.current() {
            Ok(Some(version)) => {
                let contents = self.parse(&version.text)?;
                self.remember(Ok(contents));
            }
            Ok(None) if self.versions.by_arn() => return Err(self.missing()),
            Ok(None) => {
                match self.versions.create("{}") {
                    // It was created this moment, or it has no value yet: the first save sees to that.
                    Ok(()) | Err(Fault::Exists) => {}
                    Err(fault) => return Err(self.failed(fault)),
                }
                tracing::info!("{}", messages::created(self.describe()));
            }
            Err(fault) => return Err(self.failed(fault)),
        }
        Ok(())
    }

    fn headings(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.contents()?.headings())
    }

    fn describe(&self) -> String {
        self.versions.describe()
    }
}

/// A secret, as its versions.
trait Versions: Send + Sync {
    /// None: there is no such secret, or it has no value.
    fn current(&self) -> Result<Option<Version>, Fault>;
    /// The one that was current before.
    fn previous(&self) -> Result<Option<Version>, Fault>;
    /// [`Fault::Exists`] where the secret does.
    fn create(&self, text: &str) -> Result<(), Fault>;
    /// A new current version; gives its id.
    fn put(&self, text: &str) -> Result<String, Fault>;
    /// A new version that is not current; gives its id.
    fn stage(&self, text: &str) -> Result<String, Fault>;
    /// Makes `to` current where `from` is, else [`Fault::Conflict`].
    fn promote(&self, from: &str, to: &str) -> Result<(), Fault>;
    /// It is named by an ARN, and so cannot be created.
    fn by_arn(&self) -> bool;
    /// For logs.
    fn describe(&self) -> String;
}

struct Version {
    id: String,
    text: String,
    /// Unix time in milliseconds.
    created: i64,
}

enum Fault {
    Missing,
    Exists,
    /// Another version is current.
    Conflict,
    /// [`Versions::promote`] may not be used.
    NotAllowed,
    /// AWS takes no more versions.
    Exhausted(StoreError),
    Other(StoreError),
}

/// Doubles with each attempt, and is spread between half of that and all, so that replicas get out of step.
fn pause(attempt: u32) -> Duration {
    let longest = FIRST_PAUSE
        .saturating_mul(1 << attempt.min(16))
        .min(LONGEST_PAUSE);
    let [spread] = crypt::random::<1>().unwrap_or([128]);
    longest / 2 + longest.mul_f64(f64::from(spread) / 512.0)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
