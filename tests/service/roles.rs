//! Instances that run only a part of the service, and together are all of it.

use barnabas::demo::receiver::Behaviour;
use serde_json::json;

use crate::support::api::{Api, connections};
use crate::support::service::Service;
use crate::support::stage::Stage;
use crate::support::{PATIENCE, eventually};

const HTML: [(&str, &str); 1] = [("accept", "text/html")];

/// Partitions of events and tiers that it has been given.
fn assigned(service: &Service) -> f64 {
    service.metric("barnabas_kafka_assigned_partitions", "")
}

#[test]
fn each_role_does_its_part_and_no_other() {
    let Some(stage) = Stage::new("roles", "[admin]\nlisten = \"127.0.0.1:0\"\n") else { return };
    let worker = stage.serve_as("deliver");
    let api_alone = stage.serve_as("api");
    let for_people = stage.serve_as("console");
    assert!(!worker.log().contains("the admin API is served"));
    assert!(!worker.log().contains("set-up token"), "it would open nothing");
    // Four partitions of events and of each of three tiers.
    eventually("the worker has all partitions", || (assigned(&worker) == 16.0).then_some(()));
    assert_eq!((assigned(&api_alone), assigned(&for_people)), (0.0, 0.0));

    let (api, console) = (Api::of(&api_alone), Api::of(&for_people));
    assert_eq!(api.send("GET", "/sign-in", &HTML, None).status, 404);
    console.send("GET", "/sign-in", &HTML, None).expect(200);
    stage.receiver.set_behaviour("/made", Behaviour::Healthy);
    let draft = json!({"name": "made", "url": stage.receiver.url("/made"),
        "auth": {"type": "bearer", "token": "t0ken"}, "events": ["message_open"], "channels": ["email"]});
    api.send("POST", &connections(), &[], Some(&draft)).expect(201);
    console.get(&connections()).expect(200);
    // The worker has it within a second, as every instance: until then an event would be nobody's.
    eventually("the worker has read it", || {
        (worker.metric("barnabas_connections", "\"active") == 1.0).then_some(())
    });
    stage.produce(0..20);
    stage.receiver.wait_for("/made", 20, PATIENCE).unwrap();
    for service in [for_people, api_alone, worker] {
        service.stop();
    }
    assert_eq!(stage.receiver.counts("/made").requests, 20);
}
