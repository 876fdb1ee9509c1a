// The writing half of journals: values to lines.
#include "nlohmann/json.hpp"
#include "reasoning/journal.h"
#include "reasoning/settings_json.h"

namespace zaya::reasoning {
namespace {

using Json = nlohmann::ordered_json;

std::string text_of(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

// Milliseconds are enough for people, and keep lines short.
double rounded(double seconds) { return static_cast<double>(static_cast<int64_t>(seconds * 1000)) / 1000; }

Json segment_json(const Segment& segment) {
  Json json = {{"text", segment.text}};
  if (!segment.tokens.empty()) json["tokens"] = segment.tokens;
  return json;
}

Json side_json(const Text& text) {
  Json json = {{"text", text.text}, {"tokens", text.count}};
  if (text.estimated) json["estimated"] = true;
  return json;
}

Json votes_json(const std::vector<VoteClass>& votes) {
  Json all = Json::array();
  for (const VoteClass& vote : votes) {
    all.push_back({{"answer", vote.answer},
                   {"votes", vote.candidates.size()},
                   {"finished", vote.finished},
                   {"candidates", vote.candidates}});
  }
  return all;
}

}  // namespace

std::string run_line(const Run& run, const std::string& id, const std::string& created, const std::string& generator,
                     const std::string& model) {
  Json generated = Json::parse(generator, nullptr, false);
  return text_of({{"event", "run"},
                  {"version", 1},
                  {"id", id},
                  {"created", created},
                  {"problem", run.problem()},
                  {"rounds", run.rounds().size()},
                  {"settings", settings_json(run.settings())},
                  {"prompts", run.prompts().source()},
                  {"model", model},
                  {"generator", generated.is_discarded() ? Json() : std::move(generated)}});
}

std::string start_line(const Run& run, const Job& job, double at) {
  const Candidate& candidate = run.candidate(job.id);
  Json json = {{"event", "start"},
               {"at", rounded(at)},
               {"round", candidate.round},
               {"candidate", candidate.index},
               {"parents", candidate.parents},
               {"seed", job.seed},
               {"thinking_budget", job.thinking_budget},
               {"answer_budget", job.answer_budget},
               {"prompt", job.prompt.text()}};
  if (job.max_new_tokens >= 0) json["max_new_tokens"] = job.max_new_tokens;
  if (!job.prompt.continuation.empty()) {
    json["continues"] = Json::array();
    for (const Segment& segment : job.prompt.continuation) json["continues"].push_back(segment.text);
  }
  return text_of(json);
}

std::string trace_line(const Run& run, int64_t id, double at) {
  const Candidate& candidate = run.candidate(id);
  const Trace& trace = candidate.trace;
  Json json = {{"event", "trace"},
               {"at", rounded(at)},
               {"round", candidate.round},
               {"candidate", candidate.index},
               {"end", name_of(trace.end)},
               {"closed", trace.closed},
               {"answer", candidate.answer.has_value() ? Json(*candidate.answer) : Json()},
               {"new_tokens", trace.new_tokens},
               {"prompt_tokens", trace.prompt_tokens},
               {"cached_prompt_tokens", trace.cached_prompt_tokens},
               {"wasted_tokens", trace.wasted_tokens},
               {"seconds",
                {{"queue", rounded(trace.queue_seconds)},
                 {"prefill", rounded(trace.prefill_seconds)},
                 {"decode", rounded(trace.decode_seconds)}}},
               {"reasoning", side_json(trace.reasoning)},
               {"final", side_json(trace.answer)},
               {"tail", segment_json(candidate.tail)}};
  if (!candidate.head.text.empty()) json["head"] = segment_json(candidate.head);
  if (candidate.carried) json["carried"] = true;
  if (!trace.failure.empty()) json["failure"] = trace.failure;
  if (!trace.endpoint.empty()) json["endpoint"] = trace.endpoint;
  if (trace.attempts != 1) json["attempts"] = trace.attempts;
  if (trace.reasoning.estimated && trace.reasoning.count > 0) {
    json["characters_per_token"] =
        static_cast<double>(trace.reasoning.text.size()) / static_cast<double>(trace.reasoning.count);
  }
  return text_of(json);
}

std::string votes_line(const Run& run, int64_t round, double at) {
  int64_t tokens = 0, prompt = 0, cached = 0;
  for (const Candidate& candidate : run.rounds()[static_cast<size_t>(round)]) {
    tokens += candidate.trace.new_tokens;
    prompt += candidate.trace.prompt_tokens;
    cached += candidate.trace.cached_prompt_tokens;
  }
  return text_of({{"event", "votes"},
                  {"at", rounded(at)},
                  {"round", round},
                  {"votes", votes_json(run.votes(round))},
                  {"new_tokens", tokens},
                  {"prompt_tokens", prompt},
                  {"cached_prompt_tokens", cached}});
}

std::string resume_line(double at) { return text_of({{"event", "resume"}, {"at", rounded(at)}}); }

std::string result_line(const Run& run, const RunResult& result, double at) {
  Json json = {{"event", "result"},
               {"at", rounded(at)},
               {"answer", result.candidate < 0 ? Json() : Json(result.answer)},
               {"text", result.text},
               {"round", result.round},
               {"candidate", result.candidate},
               {"choice", name_of(run.settings().choice)},
               {"stopped", name_of(result.stopped)},
               {"votes", votes_json(result.votes)},
               {"new_tokens", result.new_tokens},
               {"wasted_tokens", result.wasted_tokens},
               {"prompt_tokens", result.prompt_tokens},
               {"cached_prompt_tokens", result.cached_prompt_tokens}};
  if (result.candidates_cut > 0) {
    json["candidates_cut"] = result.candidates_cut;
    json["tokens_saved_about"] = result.tokens_saved;
  }
  return text_of(json);
}

}  // namespace zaya::reasoning
