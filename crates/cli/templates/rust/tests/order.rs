//! Orders, with virtual time and activities that do nothing.

use everstep::testing::{Error, TestHub};
use app_name::{Order, charge, durable, order};

fn book(cents: u32) -> Order {
    Order { item: "a book".to_owned(), cents }
}

#[test]
fn a_small_order_is_shipped_at_once() -> Result<(), Error> {
    let mut hub = TestHub::new(durable());
    let charged = hub.mock(charge, |cents| Ok(format!("receipt for {cents}")));
    let run = hub.start(order, book(1_200))?;
    assert_eq!(hub.result(&run)?, "a book is on its way");
    assert_eq!(charged.count(), 1);
    Ok(())
}

#[test]
fn a_large_order_waits_for_its_approval() -> Result<(), Error> {
    let mut hub = TestHub::new(durable());
    hub.mock(charge, |cents| Ok(format!("receipt for {cents}")));
    let approved = hub.start(order, book(20_000))?;
    hub.raise(approved.id(), "Approve", &true)?;
    assert_eq!(hub.result(&approved)?, "a book is on its way");

    let forgotten = hub.start(order, book(20_000))?;
    assert_eq!(hub.result(&forgotten)?, "not shipped; receipt for 20000 is to be paid back");
    Ok(())
}
