//! Faults of deliveries.

use serde_json::{Value, json};

use super::deliveries::{Received, receiver};
use super::{Fixture, fixture, text, time_of};
use crate::faults::{Effect, Rule, Target};

/// Applies a fault to the next delivery.
fn fault(fixture: &Fixture, effect: Effect) {
    fixture.simulator.add_fault(Rule {
        target: Target::Delivery,
        pattern: Some("participation_handler.message_sent".to_owned()),
        account: None,
        effect,
        count: Some(1),
        percent: None,
        seconds: Some(0.2),
        status: None,
        bytes: None,
        find: None,
        put: None,
    });
}

/// Chat of a delivered message.
fn chat_of(delivery: &Received) -> String {
    text(&delivery.body["params"]["chat"], "id")
}

#[tokio::test]
async fn forged_deliveries_have_one_mistake_each() {
    let fixture = fixture().await;
    let receiver = receiver().await;
    let own = receiver.extension(&fixture, json!({})).await;
    let (other, _) = fixture.colleague(0);
    let body = json!({ "account": other, "chats": [] });
    let foreign = receiver.extension(&fixture, body).await;
    let (own, foreign) = (text(&own, "public_key"), text(&foreign, "public_key"));
    let (chat, _) = fixture.channel("organization").await;
    for effect in [
        Effect::WrongSignature,
        Effect::NoSignature,
        Effect::ForeignKey,
        Effect::Reserialized,
        Effect::OldSignature,
        Effect::OtherOrganization,
    ] {
        fault(&fixture, effect);
        let id = fixture.post(&chat, json!({})).await;
        let deliveries = receiver.take(&fixture).await;
        let [delivery] = deliveries.as_slice() else {
            panic!(
                "{effect:?}: {} deliveries, as none is repeated",
                deliveries.len()
            );
        };
        assert_ne!(
            chat_of(delivery),
            chat,
            "{effect:?}: a fact that did not happen"
        );
        let valid = matches!(effect, Effect::OldSignature | Effect::OtherOrganization);
        assert_eq!(delivery.is_signed_by(&own), valid, "{effect:?}");
        assert_eq!(
            delivery.is_signed_by(&foreign),
            effect == Effect::ForeignKey,
            "{effect:?}"
        );
        let is_bare = delivery.header("x-cliq-signature").is_none();
        assert_eq!(is_bare, effect == Effect::NoSignature, "{effect:?}");
        let mut rewritten = delivery.clone();
        rewritten.raw = delivery.body.to_string().into();
        let verifies = rewritten.is_signed_by(&own);
        assert_eq!(
            verifies,
            valid || effect == Effect::Reserialized,
            "{effect:?}"
        );
        let organization = &delivery.body["params"]["access"]["organization"]["id"];
        assert_eq!(
            *organization == json!("1"),
            effect == Effect::OtherOrganization
        );
        let age = crate::clock::Clock::system_milliseconds()
            - delivery.body["timestamp"].as_i64().expect("a time");
        assert_eq!(
            age > 3_600_000,
            effect == Effect::OldSignature,
            "{effect:?}"
        );
        let row = fixture.row(&format!("message:{chat}:{}", time_of(&id)));
        let row = row.expect("a row");
        assert_eq!(
            (row.webhook, row.poll),
            (false, true),
            "{effect:?}: only a list has it"
        );
    }
}

#[tokio::test]
async fn refused_delivery_is_repeated_only_by_setting() {
    let fixture = fixture().await;
    let receiver = receiver().await;
    let own = receiver.extension(&fixture, json!({})).await;
    fixture.settings(|settings| settings.retry_seconds = vec![0.05]);
    let (chat, _) = fixture.channel("organization").await;
    fault(&fixture, Effect::Drop);
    let id = fixture.post(&chat, json!({})).await;
    let deliveries = receiver.take(&fixture).await;
    assert_eq!(deliveries.len(), 1);
    assert!(deliveries[0].is_signed_by(&text(&own, "public_key")));
    let row = fixture.row(&format!("message:{chat}:{}", time_of(&id)));
    assert!(row.is_some_and(|row| row.webhook));
}

#[tokio::test]
async fn deliveries_are_doubled_swapped_and_lost() {
    let fixture = fixture().await;
    let receiver = receiver().await;
    receiver.extension(&fixture, json!({})).await;
    let (chat, _) = fixture.channel("organization").await;
    let times = |deliveries: &[Received]| -> Vec<String> {
        let time = |one: &Received| one.body["params"]["data"]["time"].to_string();
        deliveries.iter().map(time).collect()
    };
    fault(&fixture, Effect::Duplicate);
    let id = fixture.post(&chat, json!({})).await;
    assert_eq!(times(&receiver.take(&fixture).await), [time_of(&id); 2]);
    fault(&fixture, Effect::Reorder);
    let first = fixture.post(&chat, json!({})).await;
    let second = fixture.post(&chat, json!({})).await;
    let deliveries = times(&receiver.take(&fixture).await);
    assert_eq!(deliveries, [time_of(&second), time_of(&first)]);
    for (effect, webhook) in [(Effect::Drop, false), (Effect::DropSilently, false)] {
        fault(&fixture, effect);
        let id = fixture.post(&chat, json!({})).await;
        assert!(receiver.take(&fixture).await.is_empty());
        let row = fixture.row(&format!("message:{chat}:{}", time_of(&id)));
        assert_eq!(
            row.map(|row| (row.webhook, row.poll)),
            Some((webhook, true)),
            "{effect:?}"
        );
    }
}

#[tokio::test]
async fn script_forgeries_concern_the_token() {
    let fixture = fixture().await;
    let receiver = receiver().await;
    receiver
        .extension(&fixture, json!({ "token": "own" }))
        .await;
    let (other, _) = fixture.colleague(0);
    let body = json!({ "account": other, "chats": [], "token": "other" });
    receiver.extension(&fixture, body).await;
    let (chat, _) = fixture.channel("organization").await;
    for (effect, token, is_forged) in [
        (Effect::WrongSignature, Some("wrong-token"), true),
        (Effect::NoSignature, None, true),
        (Effect::ForeignKey, Some("other"), true),
        (Effect::OldSignature, Some("own"), false),
        (Effect::Reserialized, Some("own"), false),
    ] {
        fault(&fixture, effect);
        fixture.post(&chat, json!({})).await;
        let deliveries = receiver.take(&fixture).await;
        let delivery = &deliveries[0];
        assert_eq!(
            delivery.header("x-connector-token").as_deref(),
            token,
            "{effect:?}"
        );
        let named: &Value = &delivery.body["chat"]["id"];
        assert_eq!(*named != json!(chat), is_forged, "{effect:?}");
    }
}
