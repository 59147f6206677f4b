//! Forms of numbers, texts and addresses.

use serde_json::json;
use serde_json::value::to_raw_value;

use super::*;

fn raw(value: &serde_json::Value) -> Box<RawValue> {
    to_raw_value(value).expect("JSON")
}

fn mail(fields: &serde_json::Value) -> Mail {
    Mail::parse(&raw(fields)).expect("an object")
}

#[test]
fn exact_id_comes_first() {
    for (fields, expected) in [
        (
            json!({ "messageId": "1785032043525110001" }),
            Ok("1785032043525110001"),
        ),
        (
            json!({ "messageId": 1_785_032_043_525_110_001_u64 }),
            Ok("1785032043525110001"),
        ),
        (
            json!({ "messageId": 1_721_598_796_226_130_400_u64,
                    "messageIdString": "1721598796226130500" }),
            Ok("1721598796226130500"),
        ),
        (json!({ "messageId": "7", "messageIdString": "" }), Ok("7")),
        (json!({ "messageId": "7", "messageIdString": "x" }), Ok("7")),
        (
            json!({ "messageId": "18446744073709551615" }),
            Ok("18446744073709551615"),
        ),
        (json!({ "messageId": "184467440737095516150" }), Err(())),
        (json!({ "messageId": 1.5e18 }), Err(())),
        (json!({ "messageId": -7 }), Err(())),
        (json!({ "messageId": "a:b" }), Err(())),
        (json!({}), Err(())),
    ] {
        let id = mail(&fields);
        assert_eq!(id.id().map_err(|_| ()), expected, "{fields}");
    }
}

#[test]
fn number_beyond_2_53_survives_repair() {
    // A lone surrogate and two spellings of a field force the body to be parsed again.
    let text = r#"{"messageId":1785032043525110001,"folderId":3881227000000013007,
        "subject":"\ud800","subject":"Hi"}"#;
    let raw = RawValue::from_string(text.to_owned()).expect("JSON");
    let mail = Mail::parse(&raw).expect("an object");
    assert_eq!(mail.id(), Ok("1785032043525110001"));
    assert_eq!(mail.folder.as_deref(), Some("3881227000000013007"));
    assert!(
        without_content(raw)
            .expect("JSON")
            .get()
            .contains("1785032043525110001")
    );
}

#[test]
fn primary_address_is_the_one_that_zoho_marks() {
    let account = |fields: serde_json::Value| -> Account { object(&raw(&fields)).expect("JSON") };
    let address = |id: &str, is_primary: bool, is_confirmed: bool| {
        json!({ "mailId": id, "isPrimary": is_primary, "isAlias": !is_primary,
                "isConfirmed": is_confirmed })
    };
    let several = account(json!({
        "primaryEmailAddress": "sales@acme.example", "mailboxAddress": "old@acme.example",
        "emailAddress": [
            address("sales@acme.example", false, true),
            address("ada@acme.example", true, true),
            address("typed@elsewhere.example", false, false),
            7, { "isPrimary": "yes" },
        ],
    }));
    assert_eq!(several.address(), Some("ada@acme.example"));
    for (address, is_known) in [
        ("ADA@acme.example", true),
        ("sales@acme.example", true),
        ("old@acme.example", true),
        ("typed@elsewhere.example", false),
        ("", false),
    ] {
        assert_eq!(several.has_address(address), is_known, "{address}");
    }
    let unmarked = json!({ "mailboxAddress": "box@acme.example",
        "emailAddress": [address("sales@acme.example", false, true)] });
    assert_eq!(account(unmarked).address(), Some("box@acme.example"));
    for (emails, expected) in [
        (json!("ada@acme.example"), Some("ada@acme.example")),
        (
            json!([{ "mailId": "ada@acme.example" }]),
            Some("ada@acme.example"),
        ),
        (json!(""), None),
        (json!([]), None),
        (json!({}), None),
        (json!(null), None),
    ] {
        let only = account(json!({ "emailAddress": emails }));
        assert_eq!(only.address(), expected, "{emails}");
    }
}

#[test]
fn received_time_is_text_or_number() {
    let expected = DateTime::from_timestamp_millis(1_785_032_043_525).expect("a time");
    for time in [json!("1785032043525"), json!(1_785_032_043_525_u64)] {
        let fields = json!({ "receivedTime": time, "sentDateInGMT": "1785057240000" });
        assert_eq!(mail(&fields).received_at(), Ok(expected));
    }
    for time in [
        json!("soon"),
        json!(""),
        json!(null),
        json!("999999999999999999"),
    ] {
        let fields = json!({ "receivedTime": time, "sentDateInGMT": "1785057240000" });
        assert_eq!(
            mail(&fields).received_at(),
            Err(WireError::Missing("receivedTime"))
        );
    }
}

#[test]
fn addresses_are_unescaped_and_parsed() {
    for (text, expected) in [
        ("&lt;ada@acme.example&gt;", &["ada@acme.example"][..]),
        ("ada@acme.example", &["ada@acme.example"]),
        ("\"Ada L\"<ada@acme.example>", &["ada@acme.example"]),
        (
            "&quot;Lovelace, Ada&quot;&lt;ada@acme.example&gt;,&lt;b@acme.example&gt;",
            &["ada@acme.example", "b@acme.example"],
        ),
        ("Not Provided", &[]),
        ("not provided", &[]),
        ("", &[]),
    ] {
        let fields = json!({ "toAddress": text, "ccAddress": text });
        let mail = mail(&fields);
        assert_eq!(mail.to(), expected, "{text}");
        assert_eq!(mail.cc(), expected, "{text}");
    }
}

#[test]
fn sender_name_is_omitted_if_an_address() {
    for (from, sender, address, name) in [
        (
            "grace@navy.example",
            "Grace",
            Some("grace@navy.example"),
            Some("Grace"),
        ),
        (
            "grace@navy.example",
            "Grace@navy.example",
            Some("grace@navy.example"),
            None,
        ),
        (
            "&lt;grace@navy.example&gt;",
            "&quot;G &amp; H&quot;",
            Some("grace@navy.example"),
            Some("G & H"),
        ),
        (
            "\"G\"<grace@navy.example>",
            "",
            Some("grace@navy.example"),
            Some("G"),
        ),
        ("", "Grace", None, Some("Grace")),
        ("Not Provided", "", None, None),
    ] {
        let fields = json!({ "fromAddress": from, "sender": sender });
        let mailbox = mail(&fields).from();
        let (stated, known) = mailbox.map_or((None, None), |one| (one.address, one.name));
        assert_eq!(
            (stated.as_deref(), known.as_deref()),
            (address, name),
            "{from} {sender}"
        );
    }
}

#[test]
fn attachment_is_stated_by_rows_only() {
    for (value, expected) in [
        (json!("1"), Some(true)),
        (json!(1), Some(true)),
        (json!("0"), Some(false)),
        (json!("yes"), None),
        (json!(null), None),
    ] {
        assert_eq!(
            mail(&json!({ "hasAttachment": value })).has_attachment(),
            expected
        );
    }
}

#[test]
fn content_is_dropped_and_numbers_stay_exact() {
    let body = r#"{"summary":"Dear","html":"<p>Dear","messageId":1560840837125110001,
        "folderId":3881227000000013001,"zuid":647772765,"unknown":{"html":"Dear"}}"#;
    let raw: Box<RawValue> = serde_json::from_str(body).expect("JSON");
    let kept = without_content(raw).expect("JSON");
    assert_eq!(
        kept.get(),
        r#"{"folderId":3881227000000013001,"messageId":1560840837125110001,"zuid":647772765}"#
    );
    let kept_again = without_content(kept.clone()).expect("JSON");
    assert_eq!(kept_again.get(), kept.get());
    for other in [r#"[{"html":"Dear"}]"#, r#""Dear""#, "7"] {
        let other: Box<RawValue> = serde_json::from_str(other).expect("JSON");
        assert_eq!(without_content(other).expect("JSON").get(), "null");
    }
}
