//! Tests of the recording of requests.

use super::limits::LIST;
use super::*;

#[tokio::test]
async fn requests_are_recorded_only_while_recording() {
    let fixture = fixture(StatusCode::OK, 5).await;
    let (_, token) = fixture.install().await;
    let url = format!("{}/_sim/requests", fixture.simulator.base_url());
    let recorded = async || -> Vec<Value> {
        let response = fixture.client.get(&url).send().await.expect("a response");
        let text = response.text().await.expect("lines");
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().expect("JSON per line")
    };
    fixture.fetch(&token, LIST).await;
    assert_eq!(recorded().await, Vec::<Value>::new(), "recording is off");
    fixture.client.post(&url).send().await.expect("a response");
    fixture.fetch(&token, LIST).await;
    let form = [("client_id", "none")];
    let exchange = format!("{}/login/oauth/access_token", fixture.simulator.base_url());
    let exchange = fixture.client.post(exchange).form(&form).send().await;
    let exchange = exchange.expect("a response").status();

    let requests = recorded().await;
    assert_eq!(requests.len(), 2, "{requests:#?}");
    let (path, query) = LIST.split_once('?').expect("a query");
    let list = &requests[0];
    assert_eq!(
        (&list["method"], &list["status"]),
        (&json!("GET"), &json!(200))
    );
    assert_eq!(list["path"], format!("/api/v3{path}"));
    assert_eq!((&list["query"], &list["body"]), (&json!(query), &json!("")));
    assert_eq!(
        list["headers"]["authorization"], "Bearer",
        "no token is recorded"
    );
    assert_eq!(
        requests[1]["body"], "client_id=none",
        "the handler got the body"
    );
    assert_eq!(requests[1]["status"], exchange.as_u16());

    fixture
        .client
        .delete(&url)
        .send()
        .await
        .expect("a response");
    fixture.fetch(&token, LIST).await;
    assert_eq!(
        recorded().await,
        Vec::<Value>::new(),
        "recording has stopped"
    );
}
