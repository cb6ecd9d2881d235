// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_CONFIG_JSON_TEXT_HPP
#define HEADGATE_LIB_CONFIG_JSON_TEXT_HPP

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <headgate/config.hpp>

namespace headgate::detail {

using json = nlohmann::json;

/// A value of a JSON document. Objects and arrays of nlohmann::json take memory to be destroyed, and end the process
/// where there is none: here they are plain vectors, and only single values are the library's. (Those are not compared
/// with texts: `json == "text"` ends the process, too.)
class json_node {
public:
    using entry = std::pair<std::string, json_node>;

    [[nodiscard]] static json_node object() { return json_node(kind::object); }
    [[nodiscard]] static json_node array() { return json_node(kind::array); }
    /// Of a text, a number, true, false or null.
    explicit json_node(json single) : single_(std::move(single)) {}

    [[nodiscard]] bool is_object() const noexcept { return kind_ == kind::object; }
    [[nodiscard]] bool is_array() const noexcept { return kind_ == kind::array; }
    [[nodiscard]] bool is_string() const noexcept { return single_.is_string(); }
    [[nodiscard]] bool is_null() const noexcept { return kind_ == kind::single && single_.is_null(); }

    /// Null for an object or an array.
    [[nodiscard]] const json& single() const noexcept { return single_; }
    /// Of a text.
    [[nodiscard]] const std::string& text() const { return single_.get_ref<const std::string&>(); }
    /// Of an object, in their order; of an array, with empty names.
    [[nodiscard]] const std::vector<entry>& items() const noexcept { return items_; }
    [[nodiscard]] std::vector<entry>& items() noexcept { return items_; }
    /// The last member of that name; null when there is none.
    [[nodiscard]] const json_node* find(std::string_view name) const noexcept {
        const auto found =
            std::find_if(items_.rbegin(), items_.rend(), [name](const entry& e) { return e.first == name; });
        return is_object() && found != items_.rend() ? &found->second : nullptr;
    }

private:
    enum class kind : unsigned char { single, object, array };

    explicit json_node(kind k) noexcept : kind_(k) {}

    kind kind_ = kind::single;
    json single_;
    std::vector<entry> items_;
};

/// Reads `text` as a JSON document. Mistakes go to `problems`. For a key that stands twice there is a document all the
/// same, in which the later one counts. For a text that is no JSON, is nested too deeply or has a number too large
/// there is none.
[[nodiscard]] std::optional<json_node> read_json(std::string_view text, std::vector<config_problem>& problems);

/// A value for people, no longer than a line.
[[nodiscard]] std::string shown(const json_node& value);
/// The same of a single value.
[[nodiscard]] std::string shown(const json& value);

}  // namespace headgate::detail

#endif
