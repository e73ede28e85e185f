//! The laws of the model's values, checked over random histories, rosters and bytes.
//!
//! Golden values and single steps are beside the code.

#[cfg(test)]
mod decoding;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod merkle;
#[cfg(test)]
mod placement;
#[cfg(test)]
mod states;
