#include "engine/run/toml_shim.h"

#include <cstdio>
#include <exception>
#include <json-c/json.h>
#include <sstream>
#include <string_view>
#include <toml++/toml.h>

namespace
{

json_object *convert(const toml::node &node, toml::source_index line);

json_object *convert_table(const toml::table &table)
{
	json_object *object = json_object_new_object();

	for (auto &&[key, value] : table) {
		std::string name{ key.str() };

		json_object_object_add(object, name.c_str(), convert(value, key.source().begin.line));
	}
	return object;
}

json_object *convert_array(const toml::array &array)
{
	json_object *list = json_object_new_array();

	for (auto &&element : array)
		json_object_array_add(list, convert(element, element.source().begin.line));
	return list;
}

json_object *new_text(std::string_view text)
{
	return json_object_new_string_len(text.data(), static_cast<int>(text.size()));
}

template <typename T> json_object *new_printed(const T &value)
{
	std::ostringstream out;

	out << value;
	return new_text(out.str());
}

json_object *convert(const toml::node &node, toml::source_index line)
{
	json_object *object = json_object_new_object();
	const char *type = "datetime";
	json_object *value;

	if (auto table = node.as_table()) {
		type = "table";
		value = convert_table(*table);
	} else if (auto array = node.as_array()) {
		type = "array";
		value = convert_array(*array);
	} else if (auto text = node.as_string()) {
		type = "string";
		value = new_text(text->get());
	} else if (auto integer = node.as_integer()) {
		type = "integer";
		value = json_object_new_int64(integer->get());
	} else if (auto number = node.as_floating_point()) {
		type = "float";
		value = json_object_new_double(number->get());
	} else if (auto flag = node.as_boolean()) {
		type = "boolean";
		value = json_object_new_boolean(flag->get());
	} else if (auto date = node.as_date()) {
		value = new_printed(date->get());
	} else if (auto time = node.as_time()) {
		value = new_printed(time->get());
	} else {
		value = new_printed(node.as_date_time()->get());
	}
	json_object_object_add(object, "type", json_object_new_string(type));
	json_object_object_add(object, "line", json_object_new_int64(line));
	json_object_object_add(object, "value", value);
	return object;
}

} // namespace

extern "C" struct json_object *pv_toml_shim_parse(const char *text, size_t len, struct pv_toml_fault *fault)
{
	fault->line = 0;
	try {
		return convert(toml::parse(std::string_view{ text, len }), 1);
	} catch (const toml::parse_error &error) {
		fault->line = static_cast<unsigned>(error.source().begin.line);
		std::snprintf(fault->reason, sizeof(fault->reason), "%s", error.what());
	} catch (const std::exception &error) {
		std::snprintf(fault->reason, sizeof(fault->reason), "%s", error.what());
	}
	return nullptr;
}
