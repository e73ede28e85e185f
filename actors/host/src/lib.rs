//! The one supervised actor that hosts any machine
