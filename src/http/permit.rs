//! Room for scrapes: how many may wait or be written at once. People and Prometheus have a room of their own each: in
//! an incident a team reloads `/stalls`, and the alert rules must be evaluated all the same.

use std::rc::Rc;

use super::routes::Wanted;

/// Room for one scrape; given back when dropped, on whatever way the connection ends.
#[derive(Debug)]
pub struct Permit(Rc<()>);

impl Permit {
    /// The same room for the next stage, which replaces this one.
    pub fn pass_on(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

/// All the room there is.
#[derive(Debug)]
pub struct Permits {
    token: Rc<()>,
    max: usize,
}

impl Permits {
    /// Room for `max` scrapes.
    pub fn new(max: usize) -> Self {
        Self { token: Rc::new(()), max }
    }

    /// How many there is room for.
    pub const fn max(&self) -> usize {
        self.max
    }

    /// Whether there is room.
    pub fn any_left(&self) -> bool {
        // One count is our own.
        Rc::strong_count(&self.token) <= self.max
    }

    /// Room for one more; `None` when all is taken.
    pub fn take(&self) -> Option<Permit> {
        self.any_left().then(|| Permit(Rc::clone(&self.token)))
    }
}

/// The rooms.
#[derive(Debug)]
pub struct Rooms {
    scrapes: Permits,
    people: Permits,
}

impl Rooms {
    /// Room for `max` scrapes, and for as many people.
    pub fn new(max: usize) -> Self {
        Self { scrapes: Permits::new(max), people: Permits::new(max) }
    }

    /// The room for what is wanted.
    pub const fn of(&self, wanted: Wanted) -> &Permits {
        match wanted {
            Wanted::Metrics => &self.scrapes,
            Wanted::Stalls(..) => &self.people,
        }
    }

    /// Whether one of them is full.
    pub fn any_full(&self) -> bool {
        !self.scrapes.any_left() || !self.people.any_left()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_comes_back_when_the_last_holder_goes() {
        let permits = Permits::new(1);
        let first = permits.take().unwrap();
        let same = first.pass_on();
        drop(first);
        assert!(permits.take().is_none());
        drop(same);
        assert!(permits.take().is_some());
        assert!(Permits::new(0).take().is_none());
    }
}
