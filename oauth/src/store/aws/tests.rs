//! Replicas over one secret in memory, that meet at chosen moments.

use super::*;
use crate::store::Change;

/// Secrets Manager's rules for the versions of one secret.
#[derive(Default)]
struct Service {
    exists: bool,
    versions: Vec<String>,
    current: Option<usize>,
    previous: Option<usize>,
    /// It takes no more versions.
    exhausted: bool,
    calls: Vec<&'static str>,
}

type Meanwhile = Box<dyn FnMut(&str) + Send>;

/// One replica's view; `meanwhile` runs before each of its calls and can be another replica's save.
struct View {
    service: Arc<Mutex<Service>>,
    meanwhile: Mutex<Meanwhile>,
    may_promote: bool,
    /// Answers to `promote` are lost, and a second attempt finds it done.
    lossy: bool,
    by_arn: bool,
}

impl View {
    fn call(&self, name: &'static str) -> MutexGuard<'_, Service> {
        (self.meanwhile.lock().unwrap())(name);
        let mut service = self.service.lock().unwrap();
        service.calls.push(name);
        service
    }
}

impl Service {
    fn version(&self, number: Option<usize>) -> Option<Version> {
        number.map(|number| Version {
            id: number.to_string(),
            text: self.versions[number].clone(),
            created: 0,
        })
    }

    fn add(&mut self, text: &str) -> usize {
        self.versions.push(text.to_owned());
        self.versions.len() - 1
    }

    fn make_current(&mut self, number: usize) {
        self.previous = self.current.replace(number);
    }
}

impl Versions for View {
    fn current(&self) -> Result<Option<Version>, Fault> {
        let service = self.call("current");
        Ok(service.version(service.current))
    }

    fn previous(&self) -> Result<Option<Version>, Fault> {
        let service = self.call("previous");
        Ok(service.version(service.previous))
    }

    fn create(&self, text: &str) -> Result<(), Fault> {
        let mut service = self.call("create");
        if std::mem::replace(&mut service.exists, true) {
            return Err(Fault::Exists);
        }
        let number = service.add(text);
        service.make_current(number);
        Ok(())
    }

    fn put(&self, text: &str) -> Result<String, Fault> {
        let mut service = self.call("put");
        if !service.exists {
            return Err(Fault::Missing);
        }
        let number = service.add(text);
        service.make_current(number);
        Ok(number.to_string())
    }

    fn stage(&self, text: &str) -> Result<String, Fault> {
        let mut service = self.call("stage");
        if service.exhausted {
            let error = StoreError("AWS secret mail: one of its limits is reached".to_owned());
            return Err(Fault::Exhausted(error));
        }
        Ok(service.add(text).to_string())
    }

    fn promote(&self, from: &str, to: &str) -> Result<(), Fault> {
        let mut service = self.call("promote");
        if !self.may_promote {
            return Err(Fault::NotAllowed);
        }
        if service.current.map(|number| number.to_string()).as_deref() != Some(from) {
            return Err(Fault::Conflict);
        }
        service.make_current(to.parse().unwrap());
        if self.lossy {
            return Err(Fault::Conflict);
        }
        Ok(())
    }

    fn by_arn(&self) -> bool {
        self.by_arn
    }

    fn describe(&self) -> String {
        "AWS secret mail".to_owned()
    }
}

fn service(text: &str) -> Arc<Mutex<Service>> {
    let mut service = Service {
        exists: true,
        ..Service::default()
    };
    let number = service.add(text);
    service.make_current(number);
    Arc::new(Mutex::new(service))
}

fn replica(service: &Arc<Mutex<Service>>, may_promote: bool, meanwhile: Meanwhile) -> AwsStore {
    AwsStore::over(Box::new(View {
        service: service.clone(),
        meanwhile: Mutex::new(meanwhile),
        may_promote,
        lossy: false,
        by_arn: false,
    }))
}

fn alone(service: &Arc<Mutex<Service>>) -> AwsStore {
    replica(service, true, Box::new(|_| {}))
}

fn set(value: &str) -> [Change; 1] {
    [Change {
        option: "access_token",
        value: Some(value.to_owned()),
    }]
}

fn held(service: &Arc<Mutex<Service>>) -> String {
    let service = service.lock().unwrap();
    service.version(service.current).unwrap().text
}

fn calls(service: &Arc<Mutex<Service>>) -> Vec<&'static str> {
    std::mem::take(&mut service.lock().unwrap().calls)
}

/// Runs `once` before the call named.
fn before(call: &'static str, once: impl FnOnce() + Send + 'static) -> Meanwhile {
    let mut once = Some(once);
    Box::new(move |name| {
        if name == call
            && let Some(once) = once.take()
        {
            once();
        }
    })
}

#[test]
fn what_is_saved_is_loaded_without_asking_again() {
    let service = service(r#"{"b@x": {"access_token": "b"}}"#);
    let store = alone(&service);
    store.save("a@x", &set("a")).unwrap();
    assert_eq!(calls(&service), ["current", "stage", "promote"]);
    for (heading, token) in [("a@x", Some("a")), ("b@x", Some("b")), ("c@x", None)] {
        assert_eq!(store.load(heading).unwrap().access_token.as_deref(), token);
    }
    store.save("a@x", &set("a")).unwrap();
    assert_eq!(calls(&service), ["current"], "nothing to write");
}

#[test]
fn a_save_between_read_and_write_is_not_overwritten() {
    for (may_promote, call) in [
        (true, "stage"),
        (true, "promote"),
        (false, "stage"),
        (false, "promote"),
        (false, "put"),
    ] {
        let service = service("{}");
        let other = alone(&service);
        let between = before(call, move || other.save("b@x", &set("b")).unwrap());
        replica(&service, may_promote, between)
            .save("a@x", &set("a"))
            .unwrap();
        assert_eq!(
            held(&service),
            r#"{"a@x": {"access_token":"a"}, "b@x": {"access_token":"b"}}"#,
            "{may_promote} {call}"
        );
    }
}

/// A program that writes without reading; it overwrites `[b@x]` alone.
fn overwrite(service: &Arc<Mutex<Service>>) {
    let mut service = service.lock().unwrap();
    let number = service.add(r#"{"b@x": {"access_token": "b"}}"#);
    service.make_current(number);
}

#[test]
fn a_save_that_is_overwritten_before_it_is_seen_is_made_again() {
    let service = service("{}");
    let other = service.clone();
    let mut put = 0;
    let between: Meanwhile = Box::new(move |name| {
        put += u32::from(name == "put");
        if name == "current" && put == 1 {
            put += 1;
            overwrite(&other);
        }
    });
    replica(&service, false, between)
        .save("a@x", &set("a"))
        .unwrap();
    assert_eq!(
        held(&service),
        r#"{"a@x": {"access_token":"a"}, "b@x": {"access_token": "b"}}"#
    );
}

#[test]
fn whoever_is_disturbed_each_time_gives_up_for_now() {
    let service = service("{}");
    let other = service.clone();
    let between: Meanwhile = Box::new(move |name| {
        if name == "promote" {
            overwrite(&other);
        }
    });
    let error = replica(&service, true, between)
        .save("a@x", &set("a"))
        .unwrap_err();
    assert!(error.0.contains("10 times in a row"), "{error}");
}

#[test]
fn a_save_under_a_condition_sees_what_others_have_written() {
    let service = service(r#"{"a@x": {"access_token": "old"}}"#);
    let store = alone(&service);
    let seen = store.load("a@x").unwrap();
    alone(&service).save("a@x", &set("theirs")).unwrap();
    assert!(store.load("a@x").unwrap() == seen, "still in memory");
    assert!(
        !store
            .save_unless_changed("a@x", &seen, &set("ours"))
            .unwrap()
    );
    let seen = store.load("a@x").unwrap();
    assert_eq!(seen.access_token.as_deref(), Some("theirs"));

    // Even where they write between the look and the write.
    let other = alone(&service);
    let between = before("promote", move || other.save("a@x", &set("again")).unwrap());
    let disturbed = replica(&service, true, between);
    assert!(
        !disturbed
            .save_unless_changed("a@x", &seen, &set("ours"))
            .unwrap()
    );
    let seen = disturbed.load("a@x").unwrap();
    assert_eq!(seen.access_token.as_deref(), Some("again"));
    assert!(
        disturbed
            .save_unless_changed("a@x", &seen, &set("ours"))
            .unwrap()
    );
    assert_eq!(held(&service), r#"{"a@x": {"access_token":"ours"}}"#);
}

#[test]
fn a_lost_answer_is_no_conflict() {
    let service = service("{}");
    let store = AwsStore::over(Box::new(View {
        service: service.clone(),
        meanwhile: Mutex::new(Box::new(|_| {})),
        may_promote: true,
        lossy: true,
        by_arn: false,
    }));
    let nothing = Saved::default();
    assert!(
        store
            .save_unless_changed("a@x", &nothing, &set("a"))
            .unwrap()
    );
    assert_eq!(service.lock().unwrap().versions.len(), 2);
}

#[test]
fn replicas_that_save_all_at_once_lose_nothing() {
    let service = service("{}");
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let store = alone(&service);
            std::thread::spawn(move || {
                for round in 0..10 {
                    let mut tries = 0;
                    // As the saver does it: what failed is tried again.
                    while let Err(error) = store.save(&format!("{number}-{round}@x"), &set("t")) {
                        tries += 1;
                        assert!(tries < 10, "{error}");
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let store = alone(&service);
    for number in 0..4 {
        for round in 0..10 {
            let saved = store.load(&format!("{number}-{round}@x")).unwrap();
            assert_eq!(saved.access_token.as_deref(), Some("t"), "{number}-{round}");
        }
    }
}

#[test]
fn the_secret_is_created_when_it_is_missing() {
    let missing = || Arc::new(Mutex::new(Service::default()));
    let service = missing();
    alone(&service).prepare().unwrap();
    assert_eq!(held(&service), "{}");
    alone(&service).prepare().unwrap();
    assert_eq!(calls(&service), ["current", "create", "current"]);

    let service = missing();
    assert!(alone(&service).load("a@x").unwrap() == Saved::default());
    alone(&service).save("a@x", &set("a")).unwrap();
    assert_eq!(held(&service), r#"{"a@x": {"access_token":"a"}}"#);

    // Another replica creates it first.
    let service = missing();
    let other = alone(&service);
    let first = before("create", move || other.save("b@x", &set("b")).unwrap());
    replica(&service, true, first)
        .save("a@x", &set("a"))
        .unwrap();
    assert_eq!(
        held(&service),
        r#"{"a@x": {"access_token":"a"}, "b@x": {"access_token":"b"}}"#
    );

    // Created by a person, without a value.
    let service = missing();
    service.lock().unwrap().exists = true;
    alone(&service).prepare().unwrap();
    alone(&service).save("a@x", &set("a")).unwrap();
    assert_eq!(held(&service), r#"{"a@x": {"access_token":"a"}}"#);
}

#[test]
fn by_arn_nothing_can_be_created() {
    let service = Arc::new(Mutex::new(Service::default()));
    let store = AwsStore::over(Box::new(View {
        service: service.clone(),
        meanwhile: Mutex::new(Box::new(|_| {})),
        may_promote: true,
        lossy: false,
        by_arn: true,
    }));
    for result in [store.prepare(), store.save("a@x", &set("a"))] {
        let error = result.unwrap_err();
        assert!(error.0.contains("none can be created by ARN"), "{error}");
    }
    service.lock().unwrap().exists = true;
    store.save("a@x", &set("a")).unwrap();
    assert_eq!(held(&service), r#"{"a@x": {"access_token":"a"}}"#);
}

#[test]
fn what_does_not_fit_is_refused_and_said() {
    let service = service("{}");
    let error = alone(&service)
        .save("a@x", &set(&"t".repeat(MAX_TEXT)))
        .unwrap_err();
    assert!(
        error.0.contains("65536") && error.0.contains("AWS secret mail"),
        "{error}"
    );
    assert_eq!(held(&service), "{}");
    let room = MAX_TEXT - r#"{"a@x": {"access_token":""}}"#.len();
    alone(&service)
        .save("a@x", &set(&"t".repeat(room)))
        .unwrap();
    assert_eq!(held(&service).len(), MAX_TEXT);
}

#[test]
fn in_a_full_secret_access_tokens_give_way_to_refresh_tokens() {
    let service = service("{}");
    let store = alone(&service);
    let long = "t".repeat(1_000);
    let save = |number: usize| {
        let set = |option, value: &str| Change {
            option,
            value: Some(value.to_owned()),
        };
        store.save(
            &format!("{number:03}@x"),
            &[
                set("access_token", &long),
                set("access_token_expiry", &(2_000_000_000 - number).to_string()),
                set("refresh_token", &long),
            ],
        )
    };
    for number in 0..60 {
        save(number).unwrap();
    }
    let saved: Vec<_> = (0..60)
        .map(|number| store.load(&format!("{number:03}@x")).unwrap())
        .collect();
    assert!(saved.iter().all(|saved| saved.refresh_token.is_some()));
    let kept = saved.iter().filter(|saved| saved.access_token.is_some());
    assert_eq!(kept.count(), 3, "as many as there is room for");
    assert!(
        saved[0].access_token.is_some(),
        "the one that lives longest"
    );
    assert!(held(&service).len() <= MAX_TEXT);
    // where there is room for refresh tokens no more, it is said
    let error = (60..70).find_map(|number| save(number).err()).unwrap();
    assert!(error.0.contains("65536"), "{error}");
}

#[test]
fn when_aws_takes_no_more_versions_it_is_left_alone_for_a_while() {
    let service = service(r#"{"a@x": {"access_token": "a"}}"#);
    service.lock().unwrap().exhausted = true;
    let store = alone(&service);
    let error = store.save("a@x", &set("b")).unwrap_err();
    assert!(error.0.contains("limits"), "{error}");
    calls(&service);
    let error = store.save("a@x", &set("b")).unwrap_err();
    assert!(error.0.contains("asked again in 20 minutes"), "{error}");
    assert_eq!(calls(&service), [""; 0], "nobody was asked");
    let saved = store.load("a@x").unwrap();
    assert_eq!(saved.access_token.as_deref(), Some("a"), "reading goes on");
    *locked(&store.exhausted) = Some(Instant::now());
    service.lock().unwrap().exhausted = false;
    store.save("a@x", &set("b")).unwrap();
}

#[test]
fn a_secret_that_holds_something_else_is_left_alone() {
    let service = service("hunter2");
    let store = alone(&service);
    for error in [
        store.load("a@x").err().unwrap(),
        store.prepare().unwrap_err(),
        store.save("a@x", &set("a")).unwrap_err(),
    ] {
        assert!(
            error.0.contains("not a JSON object") && !error.0.contains("hunter2"),
            "{error}"
        );
    }
    assert_eq!(held(&service), "hunter2");
}

#[test]
fn pauses_grow_and_stay_within_a_second() {
    for attempt in 1..40 {
        let longest = LONGEST_PAUSE.min(FIRST_PAUSE * (1 << attempt.min(10)));
        let pause = pause(attempt);
        assert!(
            pause >= longest / 2 && pause <= longest,
            "{attempt} {pause:?}"
        );
    }
}
