// SPDX-License-Identifier: Apache-2.0
// sessions.cc - a C++ server whose sessions live in a map behind a singleton and are never erased.
//
//   LOGIN name      begins a session ("admin-..." an administrator's)
//   SAY name text   adds to its history
//   LOGOUT name     ends it: marks it closed, and forgets to erase it
//
// The classes are polymorphic, so a block tells its own class through its vtable.
//
//   Registry::instance()::registry -> sessions_ -> buckets, nodes -> UserSession -> history_
//
// DRIVE before   10 LOGIN early-{n}; SAY early-{n} hello; LOGOUT early-{n}
// DRIVE between  40 LOGIN user-{n}; SAY user-{n} hello; LOGOUT user-{n}
// DRIVE between   5 LOGIN admin-{n}; LOGOUT admin-{n}
// DRIVE during   COUNT
// EXPECT grow type~^UserSession count=+40
// EXPECT grow type~^AdminSession count=+5
// EXPECT grow size=16384 count=+40 bytes=+655360 row=1
// EXPECT type_source ^UserSession$ rtti
// EXPECT suspect verdict=growing kind=global holder~registry bytes>=655360
// EXPECT accumulates children>=40
// EXPECT chain ~registry -> std::unordered_map<std::string, std::unique_ptr<Session>> node -> UserSession \.history_
// EXPECT leaks none
// EXPECT exit 1
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "../line_server.h"

class Session {
public:
	explicit Session(std::string name) : name_(std::move(name)) {}
	virtual ~Session() = default;
	Session(const Session &) = delete;
	Session &operator=(const Session &) = delete;

	virtual bool may_administer() const = 0;
	virtual void say(std::string_view text) = 0;
	void close() { closed_ = true; }
	bool closed() const { return closed_; }

private:
	std::string name_;
	bool closed_ = false;
};

class UserSession : public Session {
public:
	using Session::Session;
	bool may_administer() const override { return false; }
	void say(std::string_view text) override
	{
		if (history_.empty())
			history_.reserve(16384);
		history_.insert(history_.end(), text.begin(), text.end());
	}

private:
	std::vector<char> history_;
};

class AdminSession : public Session {
public:
	using Session::Session;
	bool may_administer() const override { return rights_[0] != 0; }
	void say(std::string_view) override { commands_++; }

private:
	std::uint64_t commands_ = 0;
	std::uint64_t rights_[20] = { 1 };
};

class Registry {
public:
	static Registry &instance()
	{
		static Registry registry;
		return registry;
	}

	Session &login(const std::string &name)
	{
		std::unique_ptr<Session> &place = sessions_[name];

		if (!place && name.rfind("admin-", 0) == 0)
			place = std::make_unique<AdminSession>(name);
		else if (!place)
			place = std::make_unique<UserSession>(name);
		return *place;
	}

	Session *find(const std::string &name)
	{
		auto at = sessions_.find(name);
		return at == sessions_.end() || at->second->closed() ? nullptr : at->second.get();
	}

	std::size_t size() const { return sessions_.size(); }

private:
	std::unordered_map<std::string, std::unique_ptr<Session>> sessions_;
};

static void handle(char *request, char *reply, size_t size)
{
	std::string line = request;
	std::size_t first = line.find(' '), second = line.find(' ', first + 1);
	std::string verb = line.substr(0, first);
	std::string name = first == line.npos ? "" : line.substr(first + 1, second - first - 1);
	std::string text = second == line.npos ? "" : line.substr(second + 1);

	if (verb == "COUNT") {
		snprintf(reply, size, "OK %zu", Registry::instance().size());
	} else if (verb == "LOGIN" && !name.empty()) {
		Registry::instance().login(name);
	} else if (Session *session = Registry::instance().find(name)) {
		if (verb == "SAY")
			session->say(text);
		else if (verb == "LOGOUT")
			session->close();	// and here Registry::erase(name) is missing
		else
			snprintf(reply, size, "ERROR what?");
	} else {
		snprintf(reply, size, "ERROR no such session");
	}
}

int main()
{
	return line_server_open() || line_server_run(handle);
}
