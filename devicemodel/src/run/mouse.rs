//! What the monitor's clients do at the keyboard and the mouse.

use crate::machine::Machine;
use crate::monitor::info::{Button, Input};

/// The buttons that are held (see [`Machine::mouse`]).
#[derive(Debug, Default)]
pub(super) struct Mouse(u8);

/// What the mouse is told in one go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Step {
    dx: i32,
    dy: i32,
    dz: i32,
    /// Where a tablet is, if it moves.
    place: Option<(Option<u16>, Option<u16>)>,
    /// Those that are held then.
    buttons: u8,
}

/// What the machine is told, in this order.
#[derive(Debug, PartialEq, Eq)]
enum Act<'a> {
    Key(&'a str, bool),
    Mouse(Step),
}

impl Mouse {
    /// Acts on the machine.
    pub(super) fn act(&mut self, machine: &Machine, inputs: &[Input]) {
        for act in self.acts(inputs) {
            match act {
                Act::Key(name, down) => machine.key(name, down),
                Act::Mouse(Step { dx, dy, dz, place: Some((x, y)), buttons }) => {
                    machine.tablet(x, y, dz, buttons);
                    if (dx, dy) != (0, 0) {
                        machine.mouse(dx, dy, 0, 0);
                    }
                }
                Act::Mouse(step) => machine.mouse(step.dx, step.dy, step.dz, step.buttons),
            }
        }
    }

    /// What comes together is one step of the mouse, as in QEMU, so that a way of both axes is one packet. A button
    /// that goes both ways makes two of it: none of its strokes is lost. So does a key: a click between its strokes
    /// stays there.
    fn acts<'a>(&mut self, inputs: &'a [Input]) -> Vec<Act<'a>> {
        let mut acts = Vec::new();
        let mut step = Step { buttons: self.0, ..Step::default() };
        for input in inputs {
            match input {
                Input::Key(name, down) => {
                    self.end(&mut step, &mut acts);
                    acts.push(Act::Key(name, *down));
                }
                Input::Move { dx, dy } => {
                    step.dx = step.dx.saturating_add(*dx);
                    step.dy = step.dy.saturating_add(*dy);
                }
                Input::Place { x, y } => {
                    let (old_x, old_y) = step.place.unwrap_or_default();
                    step.place = Some((x.or(old_x), y.or(old_y)));
                }
                Input::Button(button, down) => {
                    let (bit, wheel) = meaning(*button);
                    step.dz = step.dz.saturating_add(if *down { wheel } else { 0 });
                    let buttons = if *down { step.buttons | bit } else { step.buttons & !bit };
                    if buttons != step.buttons && (step.buttons ^ self.0) & bit != 0 {
                        self.end(&mut step, &mut acts);
                    }
                    step.buttons = buttons;
                }
            }
        }
        self.end(&mut step, &mut acts);
        acts
    }

    /// Ends a step, and begins the next one; one that changes nothing is none.
    fn end(&mut self, step: &mut Step, acts: &mut Vec<Act<'_>>) {
        if *step != (Step { buttons: self.0, ..Step::default() }) {
            acts.push(Act::Mouse(*step));
        }
        self.0 = step.buttons;
        *step = Step { buttons: self.0, ..Step::default() };
    }
}

/// A button's bit, and how far it turns the wheel towards the person. A PS/2 mouse has no second wheel.
fn meaning(button: Button) -> (u8, i32) {
    match button {
        Button::Left => (1, 0),
        Button::Right => (2, 0),
        Button::Middle => (4, 0),
        Button::Side => (8, 0),
        Button::Extra => (16, 0),
        Button::WheelUp => (0, -1),
        Button::WheelDown => (0, 1),
        Button::WheelLeft | Button::WheelRight => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(dx: i32, dy: i32, dz: i32, buttons: u8) -> Act<'static> {
        Act::Mouse(Step { dx, dy, dz, place: None, buttons })
    }

    #[test]
    fn what_comes_together_is_one_step() {
        let mut mouse = Mouse::default();
        let way =
            [Input::Move { dx: 3, dy: 0 }, Input::Move { dx: 0, dy: -4 }, Input::Button(Button::Left, true)];
        assert_eq!(mouse.acts(&way), [step(3, -4, 0, 1)]);
        assert_eq!(mouse.acts(&[Input::Move { dx: 1, dy: 1 }]), [step(1, 1, 0, 1)]);
        let wheel = [Input::Button(Button::WheelUp, true), Input::Button(Button::WheelUp, false)];
        assert_eq!(mouse.acts(&wheel), [step(0, 0, -1, 1)]);
    }

    #[test]
    fn no_stroke_of_a_button_is_lost_and_none_is_made_up() {
        let mut mouse = Mouse::default();
        let click = [Input::Button(Button::Right, true), Input::Button(Button::Right, false)];
        assert_eq!(mouse.acts(&click), [step(0, 0, 0, 2), step(0, 0, 0, 0)]);
        assert_eq!(mouse.acts(&click[1..]), []);
        assert_eq!(mouse.acts(&[Input::Move { dx: 0, dy: 0 }]), []);
    }

    #[test]
    fn both_axes_of_a_place_are_one_step() {
        let place = [
            Input::Place { x: Some(5), y: None },
            Input::Place { x: None, y: Some(7) },
            Input::Button(Button::Left, true),
        ];
        let step = Step { place: Some((Some(5), Some(7))), buttons: 1, ..Step::default() };
        assert_eq!(Mouse::default().acts(&place), [Act::Mouse(step)]);
    }

    #[test]
    fn a_click_stays_between_the_strokes_of_a_key() {
        let key = |down| Input::Key("ctrl".into(), down);
        let inputs =
            [key(true), Input::Button(Button::Left, true), Input::Button(Button::Left, false), key(false)];
        let want = [Act::Key("ctrl", true), step(0, 0, 0, 1), step(0, 0, 0, 0), Act::Key("ctrl", false)];
        assert_eq!(Mouse::default().acts(&inputs), want);
    }
}
