//! The journal against a model: a list, and a map of identities.

use std::collections::HashMap;

use proptest::prelude::*;
use trunkline_core::Offset;
use trunkline_journal::{Append, By, Limits, Options};

use super::common::{Place, body, event, many};

#[derive(Clone, Debug)]
enum Step {
    Append { conversation: u8, events: usize, identity: Option<u8> },
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let append = (0..4u8, 1..4usize, prop::option::of(0..6u8)).prop_map(|(conversation, events, identity)| Step::Append {
        conversation,
        events,
        identity,
    });
    prop::collection::vec(prop_oneof![8 => append, 1 => Just(Step::Restart)], 1..40)
}

fn name(conversation: u8) -> String {
    format!("c{conversation}")
}

async fn behaves_as_the_model(place: &Place, steps: &[Step]) {
    let mut opened = place.open();
    let mut model: Vec<(String, usize)> = Vec::new();
    let mut identities: HashMap<(u8, u8), Offset> = HashMap::new();
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Append { conversation, events, identity } => {
                let events = vec![event(&name(*conversation), number); *events];
                let count = events.len();
                let append = Append::new(events).known_by(identity.map(|id| format!("i{id}")));
                let answer = opened.append(append).await;
                let key = identity.map(|identity| (*conversation, identity));
                if let Some(known) = key.and_then(|key| identities.get(&key)) {
                    assert_eq!((answer.last, answer.duplicate), (*known, true));
                    continue;
                }
                let first = model.len() as Offset + 1;
                model.extend(std::iter::repeat_n((name(*conversation), number), count));
                assert_eq!((answer.first, answer.last, answer.duplicate), (first, model.len() as Offset, false));
                key.map(|key| identities.insert(key, answer.last));
            }
            Step::Restart => opened = place.again(opened).await,
        }
    }
    let journal = &opened.journal;
    assert_eq!(journal.head(), model.len() as Offset);
    assert_eq!(opened.bodies().await, model.iter().map(|(name, number)| body(name, *number)).collect::<Vec<_>>());
    for conversation in 0..4 {
        let name = name(conversation);
        let expected: Vec<_> = (1..).zip(&model).filter(|(_, (other, _))| *other == name).map(|(offset, _)| offset).collect();
        let (mut forwards, mut next) = (Vec::new(), 1);
        loop {
            let chunk = journal.read_by(By::Conversation(&name), next, many(3)).await.unwrap();
            forwards.extend(chunk.events.iter().map(|event| event.offset));
            if chunk.next == next || chunk.events.is_empty() {
                break;
            }
            next = chunk.next;
        }
        assert_eq!(forwards, expected);
        let (mut backwards, mut before) = (Vec::new(), Offset::MAX >> 1);
        while before > 0 {
            let chunk = journal.conversation_back(&name, before, many(3)).await.unwrap();
            backwards.extend(chunk.events.iter().map(|event| event.offset));
            before = chunk.next;
        }
        backwards.reverse();
        assert_eq!(backwards, expected);
        for identity in 0..6 {
            let found = journal.find(&name, &format!("i{identity}")).await.unwrap();
            assert_eq!(found, identities.get(&(conversation, identity)).copied());
        }
    }
    let read = journal.read(1, Limits { events: usize::MAX, bytes: usize::MAX }).await.unwrap();
    assert!(read.events.is_sorted_by_key(|event| event.time));
    journal.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_engine_behaves_as_a_list_with_a_map_of_identities(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            for place in Place::of_every_engine(&Options::default()) {
                behaves_as_the_model(&place, &steps).await;
            }
        });
    }
}
