//! The flags that are settings, made from the rows of `config::settings`: a flag, its help and its default cannot
//! drift from what the file takes, because both are the same row.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::config::fault::Place;
use crate::config::settings::{COLLECTORS, SETTINGS, Setting};
use crate::config::value::Typed;
use crate::config::{Config, Flags, Given};

/// The settings that were typed.
#[derive(Debug, Default)]
pub struct Settings(Flags);

impl Settings {
    /// The part of the command line that configures.
    pub fn into_flags(self) -> Flags {
        self.0
    }
}

impl Args for Settings {
    fn augment_args(command: Command) -> Command {
        let mut defaults = Config::defaults();
        let settings = SETTINGS.iter().map(|setting| setting_arg(setting, &mut defaults));
        command.args(settings).args(COLLECTORS.iter().flat_map(|collector| {
            let help = format!("{}; --no-collector.{} switches it off", collector.help, collector.name);
            let on = switch(format!("collector.{}", collector.name)).help(help);
            [on, switch(format!("no-collector.{}", collector.name)).hide(true)]
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let settings = SETTINGS.iter().filter_map(|setting| given(setting, matches)).collect();
        let on = |prefix: &str, name: &str| matches.get_flag(&format!("{prefix}.{name}"));
        let collectors = COLLECTORS
            .iter()
            .flat_map(|collector| {
                [("collector", collector.name, true), ("no-collector", collector.name, false)]
            })
            .filter(|(prefix, name, _)| on(prefix, name))
            .map(|(_, name, is_on)| (name, is_on))
            .collect();
        Ok(Self(Flags { file: None, settings, collectors }))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Global, so that a flag may stand before or after the command.
fn setting_arg(setting: &'static Setting, defaults: &mut Config) -> Arg {
    let (value_name, is_list) = {
        let slot = (setting.slot)(defaults);
        (slot.value_name(), slot.is_list())
    };
    let help = match setting.show(defaults) {
        none if none.is_empty() => setting.help.to_owned(),
        default => format!("{} [default: {default}]", setting.help),
    };
    Arg::new(setting.flag)
        .long(setting.flag)
        .value_name(value_name)
        .help(help)
        .help_heading(heading(setting))
        .action(if is_list { ArgAction::Append } else { ArgAction::Set })
        // `-5` is a value that is refused with a reason, not a flag that nobody knows.
        .allow_negative_numbers(true)
        .global(true)
}

fn switch(name: String) -> Arg {
    Arg::new(name.clone()).long(name).action(ArgAction::SetTrue).help_heading("collector").global(true)
}

fn heading(setting: &Setting) -> &'static str {
    setting.section_and_key().0
}

fn given(setting: &'static Setting, matches: &ArgMatches) -> Option<Given> {
    let mut words: Vec<Typed> = matches.get_many::<String>(setting.flag)?.cloned().map(Typed::Word).collect();
    let typed = if words.len() == 1 { words.pop()? } else { Typed::List(words) };
    Some(Given { setting, typed, place: Place::Flag(format!("--{}", setting.flag)) })
}
