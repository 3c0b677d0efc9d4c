//! The configuration as text: what keeps it from being read, and what cannot be written into it.

proxy_proto::texts! {
    /// Ahead of what is wrong with a line, where the file is named in front of it.
    pub(crate) fn at_line(line = 12, column = 1, what = NOT_UTF8) = "line {line}, column {column}: {what}";

    /// A byte that no UTF-8 text contains.
    pub(crate) const NOT_UTF8 = "not UTF-8: save the file as UTF-8";
    /// The file begins with the byte-order mark of UTF-16.
    pub(crate) const UTF16 = "the file is UTF-16: save it as UTF-8 (a byte-order mark may stay)";
    /// Options before any heading.
    pub(crate) const NO_SECTION = "text before the first [heading]: put a heading above it or a # in front of it";
    /// A line that is neither a heading nor an option nor the rest of a value.
    pub(crate) const NOT_AN_OPTION =
        "neither a [heading] nor `option = value`: complete it, indent it if it goes on with the value above, or put a # in \
         front of it";
    /// A line that begins with the delimiter.
    pub(crate) const NO_OPTION_NAME = "no option name before the = or : of this line";
    /// A heading stands there twice.
    pub(crate) fn duplicate_section(first = 7) =
        "this heading stands in line {first} already: merge the two sections or rename one";
    /// An option stands twice in one section.
    pub(crate) fn duplicate_option(first = 9) =
        "this option stands in line {first} of the same section already: remove one of the two";

    /// To be written: a heading without a name.
    pub(crate) const NAMELESS_SECTION = "a section needs a name";
    /// To be written: a heading of two lines.
    pub(crate) const BROKEN_HEADING = "a section's name cannot contain a line break";
    /// To be written: an option without a name.
    pub(crate) const NAMELESS_OPTION = "an option needs a name without blanks around it";
    /// To be written: an option whose name would be read as something else.
    pub(crate) const BROKEN_OPTION =
        "an option's name cannot contain line breaks, = or :, or begin with #, ; or [";
    /// To be written: a value with a carriage return.
    pub(crate) const CARRIAGE_RETURN = "a value cannot contain a carriage return";
    /// To be written: a value whose outer blanks would be lost.
    pub(crate) const OUTER_BLANKS = "the lines of a value cannot begin or end with blanks";
    /// To be written: a value of which a line would be read as a comment.
    pub(crate) const COMMENT_IN_VALUE = "the further lines of a value cannot begin with # or ;";
    /// To be written: a section that is there.
    pub(crate) const SECTION_IS_THERE = "the section is there already";
    /// A change after which the file could not be read.
    pub(crate) const BREAKS_THE_FILE = "this change would break the file";
    /// A change that would be read back as something else.
    pub(crate) const CHANGE_READ_OTHERWISE = "this change would not be read back as it was meant";
    /// The same of a whole section.
    pub(crate) const SECTION_READ_OTHERWISE = "this section would not be read back as it was meant";
}
