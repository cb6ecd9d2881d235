// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_MEMBER_TABLE_HPP
#define HEADGATE_MEMBER_TABLE_HPP

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <headgate/time.hpp>

namespace headgate {

/// The rules that a member of options can have: its kind, and which values of it are valid.
namespace accepts {

/// From `least` to `most`; `of` names the unit, as in "a whole number of bytes from 1024 to 65536".
struct whole_number {
    std::uint64_t least = 0;                                        ///< The smallest valid value.
    std::uint64_t most = std::numeric_limits<std::int64_t>::max();  ///< The largest one.
    std::string_view of{};                                          ///< The unit, for messages; empty: none.
};

/// A `duration` from `least` to `most`. A document writes it as `parse_duration` reads it, or as a whole number of
/// milliseconds; there, no duration is longer than 36,500 days. `zero` says what zero means where it is valid, as in
/// "zero is off".
struct time_span {
    duration least{1};                ///< The shortest valid value.
    duration most = duration::max();  ///< The longest one.
    std::string_view zero = "off";    ///< What zero means.
};

/// A number from 0, or from above 0, to 1.
struct share {
    bool may_be_zero = true;  ///< Whether 0 is valid.
};

/// True or false.
struct flag {};

/// An enumerator, as its word. The first word is the enumerator with the value 0, and so on.
struct choice {
    std::span<const std::string_view> words;  ///< Live as long as the rule.
};

/// A text for which `is_valid` holds; null: any text. `valid` says which texts those are.
struct text {
    std::string_view valid;                        ///< For messages.
    bool (*is_valid)(std::string_view) = nullptr;  ///< Null: any text is valid.
};

/// An array of texts with at least `least` elements, each of which is valid as in `text`. `valid` describes the array.
struct text_list {
    std::string_view valid;                        ///< For messages.
    bool (*is_valid)(std::string_view) = nullptr;  ///< Of each element; null: any text is valid.
    std::size_t least = 0;                         ///< How many elements there are at least.
};

}  // namespace accepts

/// The rule of a member.
using member_rule = std::variant<accepts::whole_number, accepts::time_span, accepts::share, accepts::flag,
                                 accepts::choice, accepts::text, accepts::text_list>;

/// The value of a member. `choice` has its number; a member that is optional and empty has `std::monostate`.
using member_value =
    std::variant<std::monostate, bool, std::uint64_t, double, duration, std::string, std::vector<std::string>>;

/// One member of some options: its name, its rule, and functions that read and write it. `make_member` makes one.
struct member {
    std::string_view name;  ///< In documents.
    member_rule rule;       ///< Which values are valid.
    std::string_view what;  ///< One sentence of documentation.
    bool optional = false;  ///< A `std::optional`, which a document writes as null when it is empty.
    member_value (*get)(const void* options) = nullptr;               ///< The value now.
    void (*set)(void* options, const member_value& value) = nullptr;  ///< With a value that is valid.
};

/// The members of `Options` that a document can set. `config_object::read` reads them. headgate has such tables for its
/// own options: from these come the reader and the writer of configurations, `check`, and the JSON Schema.
///
/// ```cpp
/// // example: member_table
/// #include <headgate/headgate.hpp>
/// #include <cassert>
///
/// struct settings {
///     std::uint32_t port = 8080;
///     headgate::duration patience = std::chrono::seconds{30};
/// };
/// constexpr headgate::member_table members{
///     headgate::make_member<&settings::port>("port", headgate::accepts::whole_number{1, 65'535}, "The port."),
///     headgate::make_member<&settings::patience>("patience", headgate::accepts::time_span{}, "How long it waits."),
/// };
///
/// int main() {
///     settings mine;
///     const headgate::config_section sections[] = {
///         {"service", [&](const auto& section, const headgate::config&) { section.read(members, mine); }}};
///     std::vector<headgate::config_problem> problems;
///     assert(headgate::config::parse(R"({"service": {"port": 9000}, "zones": {}})", problems, sections));
///     assert(mine.port == 9000);
/// }
/// ```
template <class Options, std::size_t Size>
struct member_table {
    std::array<member, Size> members;  ///< In the order in which documents have them.
};

namespace detail {

/// A `member` whose functions take an `Options`.
template <class Options>
struct member_of : member {};

template <class>
struct pointer_to_member;
template <class Object, class T>
struct pointer_to_member<T Object::*> {
    using object = Object;
    using type = T;
};

template <class T>
struct value_of_optional : std::false_type {
    using type = T;
};
template <class T>
struct value_of_optional<std::optional<T>> : std::true_type {
    using type = T;
};

/// The alternative of `member_value` that holds a `T`.
template <class T>
using member_value_type =
    std::conditional_t<std::is_same_v<T, bool>, bool,
                       std::conditional_t<std::is_enum_v<T> || std::integral<T>, std::uint64_t, T>>;

template <class T>
[[nodiscard]] member_value value_from(const T& from) {
    if constexpr (value_of_optional<T>::value) {
        return from ? value_from(*from) : member_value();
    } else {
        return static_cast<member_value_type<T>>(from);
    }
}

template <class T>
void value_to(T& to, const member_value& from) {
    if constexpr (value_of_optional<T>::value) {
        to.reset();
        if (!std::holds_alternative<std::monostate>(from)) {
            value_to(to.emplace(), from);
        }
    } else {
        to = static_cast<T>(std::get<member_value_type<T>>(from));
    }
}

/// What a path of pointers to members leads to.
template <auto... Path, class Options>
[[nodiscard]] constexpr auto& at_path(Options& options) noexcept {
    return (options.*....*Path);
}

/// The kind of rule that members of type `T` have.
template <class T>
[[nodiscard]] constexpr bool has_rule_of(const member_rule& rule) noexcept {
    if constexpr (std::is_same_v<T, bool>) {
        return std::holds_alternative<accepts::flag>(rule);
    } else if constexpr (std::is_enum_v<T>) {
        return std::holds_alternative<accepts::choice>(rule);
    } else if constexpr (std::is_same_v<T, double>) {
        return std::holds_alternative<accepts::share>(rule);
    } else if constexpr (std::is_same_v<T, duration>) {
        return std::holds_alternative<accepts::time_span>(rule);
    } else if constexpr (std::is_same_v<T, std::string>) {
        return std::holds_alternative<accepts::text>(rule);
    } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
        return std::holds_alternative<accepts::text_list>(rule);
    } else {
        static_assert(std::unsigned_integral<T>, "headgate: no rule is for members of this type; see make_member");
        return std::holds_alternative<accepts::whole_number>(rule);
    }
}

/// The same, where a whole number is no larger than its type can hold. Throws when the rule is for another type.
template <class T>
[[nodiscard]] constexpr member_rule rule_within(member_rule rule) {
    if (!has_rule_of<T>(rule)) {
        throw std::invalid_argument("headgate: the rule of a member is for another type");
    }
    if constexpr (std::unsigned_integral<T>) {
        if (auto* const number = std::get_if<accepts::whole_number>(&rule)) {
            number->most = std::min<std::uint64_t>(number->most, std::numeric_limits<T>::max());
        }
    }
    return rule;
}

}  // namespace detail

/// The member that `Path` leads to: `&my_settings::port`, or `&my_settings::tls, &tls_settings::port` for one of an
/// object inside. Its type is an unsigned integer, `double`, `bool`, `duration`, an enumeration, `std::string` or
/// `std::vector<std::string>`, or a `std::optional` of those. A rule for another type does not compile in a `constexpr`
/// table, and throws `std::invalid_argument` elsewhere.
template <auto First, auto... Path>
[[nodiscard]] constexpr auto make_member(std::string_view name, member_rule rule, std::string_view what) {
    using options = typename detail::pointer_to_member<decltype(First)>::object;
    using type = std::remove_reference_t<decltype(detail::at_path<First, Path...>(std::declval<options&>()))>;
    using value = detail::value_of_optional<type>;
    return detail::member_of<options>{
        {.name = name,
         .rule = detail::rule_within<typename value::type>(rule),
         .what = what,
         .optional = value::value,
         .get = [](const void* from) -> member_value {
             return detail::value_from(detail::at_path<First, Path...>(*static_cast<const options*>(from)));
         },
         .set =
             [](void* to, const member_value& from) {
                 detail::value_to(detail::at_path<First, Path...>(*static_cast<options*>(to)), from);
             }}};
}

template <class Options, std::same_as<detail::member_of<Options>>... More>
member_table(detail::member_of<Options>, More...) -> member_table<Options, 1 + sizeof...(More)>;

}  // namespace headgate

#endif
