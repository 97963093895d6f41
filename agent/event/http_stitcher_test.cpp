#include "agent/event/http_stitcher.h"

#include "agent/event/limits.h"
#include "agent/event/trace_context.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <vector>

namespace agent::event {
namespace {

using testing::HasSubstr;

constexpr uint32_t kPid = 77;
constexpr uint64_t kGoid = 5;

// A connection as the kernel would tell it: it numbers the bytes, cuts what is copied, and keeps
// the clock.
class FakeSocket {
 public:
  FakeSocket(HttpStitcher& stitcher, uint64_t id, Side side, uint64_t& now_ns)
      : stitcher_(stitcher), id_(id), side_(side), now_ns_(now_ns) {}

  void receive(const std::string& bytes, uint16_t flags = 0, size_t seen = kHeadBytesMax) {
    move(bytes, flags, seen, true);
  }
  void send(const std::string& bytes, uint16_t flags = 0, size_t seen = kHeadBytesMax) {
    move(bytes, flags, seen, false);
  }
  // Bytes that no record tells of: not sampled, or the ring was full.
  void lose_received(size_t bytes) { received_ += bytes; }
  void lose_sent(size_t bytes) { sent_ += bytes; }
  // As if the last bytes had not been counted yet: they come again with the next chunk.
  void rewind_received(size_t bytes) { received_ -= bytes; }

  void end_received(int error = 0) {
    Chunk chunk = make(true, CHUNK_END);
    chunk.error = error;
    stitcher_.take(chunk);
  }
  void state(int new_state, int error = 0, bool exiting = false) {
    stitcher_.take(SocketState{
        .time_ns = ++now_ns_,
        .socket_id = id_,
        .tgid = kPid,
        .process_exiting = exiting,
        .old_state = 1,
        .new_state = new_state,
        .error = error});
  }
  exchange_start start{.goid = kGoid, .randomness = 0x12345678};

 private:
  Chunk make(bool received, uint16_t flags) {
    Chunk chunk;
    chunk.time_ns = ++now_ns_;
    chunk.socket_id = id_;
    chunk.tgid = kPid;
    chunk.received = received;
    chunk.flags = flags;
    chunk.stream_offset = received ? received_ : sent_;
    chunk.other_offset = received ? sent_ : received_;
    return chunk;
  }
  void move(const std::string& bytes, uint16_t flags, size_t seen, bool received) {
    if ((flags & CHUNK_START) != 0 && side_ == Side::kClient) flags |= CHUNK_CLIENT;
    Chunk chunk = make(received, flags);
    chunk.length = static_cast<uint32_t>(bytes.size());
    chunk.start = start;
    chunk.start.first_byte_ns = chunk.time_ns;
    chunk.beginning = std::string_view(bytes).substr(0, seen);
    const size_t left = bytes.size() - chunk.beginning.size();
    if (seen > 0)
      chunk.tail = std::string_view(bytes).substr(bytes.size() - std::min<size_t>(left, 64));
    (received ? received_ : sent_) += bytes.size();
    stitcher_.take(chunk);
  }

  HttpStitcher& stitcher_;
  const uint64_t id_;
  const Side side_;
  uint64_t& now_ns_;
  uint64_t received_ = 1000, sent_ = 2000;
};

std::string get(const std::string& target, const std::string& headers = "") {
  return "GET " + target + " HTTP/1.1\r\nHost: shop\r\n" + headers + "\r\n";
}
std::string post(const std::string& target, const std::string& headers) {
  return "POST " + target + " HTTP/1.1\r\nHost: shop\r\n" + headers + "\r\n";
}
std::string answer(int status, const std::string& body) {
  return "HTTP/1.1 " + std::to_string(status) +
         " Text\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}
const std::string kChunkedHead = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

class StitcherTest : public testing::Test {
 protected:
  FakeSocket socket(uint64_t id = 1, Side side = Side::kServer) {
    return {stitcher, id, side, now_ns};
  }
  void settle() { stitcher.advance(now_ns += 10'000'000'000); }
  const HttpExchange& only() {
    EXPECT_EQ(exchanges.size(), 1U);
    static const HttpExchange none;
    return exchanges.empty() ? none : exchanges.front();
  }
  uint64_t now_ns = 1'000'000'000;
  std::vector<HttpExchange> exchanges;
  HttpStitcher stitcher{
      42, [this](const HttpExchange& exchange) { exchanges.push_back(exchange); }};
};

TEST_F(StitcherTest, TellsAPlainExchangeAtTheLastByteOfItsAnswer) {
  auto connection = socket();
  connection.receive(get("/a?b=c", "User-Agent: x/1\r\n"), CHUNK_START);
  EXPECT_TRUE(exchanges.empty());
  connection.send(answer(201, "hello"));

  EXPECT_EQ(only().method, "GET");
  EXPECT_EQ(only().target, "/a?b=c");
  EXPECT_EQ(only().host, "shop");
  EXPECT_EQ(only().user_agent, "x/1");
  EXPECT_EQ(only().status, 201);
  EXPECT_EQ(only().response_body_bytes, 5U);
  EXPECT_EQ(only().goid, kGoid);
  EXPECT_EQ(only().start_ns, 1'000'000'001U);
  EXPECT_EQ(only().end_ns, 1'000'000'002U);
  EXPECT_EQ(only().trace_id[15], 0x78);
  EXPECT_EQ(only().trace_flags, 3);
}

TEST_F(StitcherTest, JoinsTheByteThatWasReadAlone) {
  auto connection = socket();
  connection.receive(get("/1"), CHUNK_START);
  connection.send(answer(200, "1"));
  connection.receive("G");
  connection.rewind_received(1);
  connection.receive(get("/2"), CHUNK_START | CHUNK_REJOINED);
  connection.send(answer(200, "2"));

  ASSERT_EQ(exchanges.size(), 2U);
  EXPECT_EQ(exchanges[1].target, "/2");
}

TEST_F(StitcherTest, ReadsHeadsThatComeInPieces) {
  const std::string head =
      get("/pieces", "X-Long: " + std::string(5000, 'l') + "\r\nUser-Agent: end\r\n");
  for (size_t cut : {size_t{17}, size_t{100}, head.size() - 3, head.size() - 1}) {
    exchanges.clear();
    auto connection = socket(cut);
    connection.receive(head.substr(0, cut), CHUNK_START);
    connection.receive(head.substr(cut));
    connection.send(answer(200, ""));

    EXPECT_EQ(only().target, "/pieces");
    EXPECT_EQ(only().user_agent, "end");
    EXPECT_EQ(only().start_ns + 2, only().end_ns);
  }
}

TEST_F(StitcherTest, CountsHeadsThatAreTooLongAndInventsNothing) {
  auto connection = socket();
  connection.receive(get("/long", "X: " + std::string(9000, 'l') + "\r\n"), CHUNK_START);
  connection.send(answer(431, "no"));
  connection.receive(get("/next"), CHUNK_START);
  connection.send(answer(200, "yes"));

  EXPECT_EQ(only().target, "/next");
  EXPECT_EQ(only().status, 200);
  EXPECT_EQ(stitcher.statistics().heads_truncated, 1U);
}

TEST_F(StitcherTest, SeparatesPipelinedRequestsInOneRead) {
  auto connection = socket();
  connection.receive(
      get("/1") + post("/2", "Content-Length: 3\r\n") + "abc" + get("/3"), CHUNK_START);
  connection.send(answer(200, "1"));
  connection.send(answer(202, "22") + answer(203, "333"));

  ASSERT_EQ(exchanges.size(), 3U);
  EXPECT_EQ(exchanges[0].target, "/1");
  EXPECT_EQ(exchanges[1].target, "/2");
  EXPECT_EQ(exchanges[1].request_body_bytes, 3U);
  EXPECT_EQ(exchanges[1].status, 202);
  EXPECT_EQ(exchanges[2].status, 203);
  EXPECT_EQ(exchanges[2].goid, kGoid);
  EXPECT_NE(exchanges[1].span_id, exchanges[2].span_id);
  EXPECT_NE(exchanges[1].trace_id, exchanges[2].trace_id);
}

TEST_F(StitcherTest, TakesABodyForABodyWhateverItLooksLike) {
  auto connection = socket();
  connection.receive(
      post("/upload", "Expect: 100-continue\r\nContent-Length: 40\r\n"), CHUNK_START);
  connection.send("HTTP/1.1 100 Continue\r\n\r\n");
  connection.receive(get("/smuggled").substr(0, 20), CHUNK_START);
  connection.receive(get("/smuggled").substr(0, 20), CHUNK_START);
  connection.send(answer(200, "ok"));

  EXPECT_EQ(only().target, "/upload");
  EXPECT_EQ(only().request_body_bytes, 40U);
  EXPECT_EQ(only().status, 200);
}

TEST_F(StitcherTest, CountsBodiesWhoseBytesWereNotCopied) {
  auto connection = socket();
  connection.receive(
      post("/big", "Content-Length: 100000\r\n") + std::string(20000, 'x'), CHUNK_START);
  connection.receive(std::string(80000, 'y'), 0, 64);
  connection.send("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n");
  connection.send(std::string(300000, 'z'), CHUNK_UNSEEN, 0); // sendfile
  connection.receive(get("/next"), CHUNK_START);
  connection.send(answer(200, ""));

  ASSERT_EQ(exchanges.size(), 2U);
  EXPECT_EQ(exchanges[0].request_body_bytes, 100'000U);
  EXPECT_EQ(exchanges[0].response_body_bytes, 300'000U);
  EXPECT_TRUE(exchanges[0].response_body_exact);
}

TEST_F(StitcherTest, WaitsForTheRestOfABodyThatIsReadBehindTheAnswer) {
  auto connection = socket();
  connection.receive(post("/early", "Content-Length: 10\r\n") + "12345", CHUNK_START);
  connection.send(answer(200, "early"));
  EXPECT_TRUE(exchanges.empty());
  connection.receive("67890");

  EXPECT_EQ(only().request_body_bytes, 10U);
}

TEST_F(StitcherTest, FollowsChunksWithExtensionsAndTrailers) {
  auto connection = socket();
  connection.receive(
      post("/chunks", "Transfer-Encoding: chunked\r\n") + "3;name=value\r\nabc\r\n", CHUNK_START);
  connection.receive("A\r\n01234");
  connection.receive("56789\r\n0\r\nTrailer: 1\r\n\r\n");
  connection.send(kChunkedHead + "5\r\nhello\r\n");
  connection.send("0\r\n\r\n");

  EXPECT_EQ(only().request_body_bytes, 13U);
  EXPECT_TRUE(only().request_body_exact);
  EXPECT_EQ(only().response_body_bytes, 5U);
  EXPECT_TRUE(only().response_body_exact);
}

TEST_F(StitcherTest, KnowsTheSizeOfAChunkedRequestWhoseChunkEndsWereSeen) {
  auto connection = socket();
  connection.receive(post("/chunk", "Transfer-Encoding: chunked\r\n") + "186a0\r\n", CHUNK_START);
  for (int i = 0; i < 10; ++i) connection.receive(std::string(10000, 'x'), 0, 64);
  connection.receive("\r\n0\r\n\r\n");
  connection.send(answer(200, "ok"));

  EXPECT_EQ(only().request_body_bytes, 100'000U);
  EXPECT_TRUE(only().request_body_exact);
}

TEST_F(StitcherTest, DoesNotClaimASizeWhereChunkEndsWereNotSeen) {
  auto connection = socket();
  connection.receive(post("/chunks", "Transfer-Encoding: chunked\r\n"), CHUNK_START);
  const std::string chunk = "3e8\r\n" + std::string(1000, 'x') + "\r\n";
  connection.receive(chunk + chunk + chunk + "0\r\n\r\n", 0, 64);
  connection.send(answer(200, "ok"));
  settle();

  EXPECT_EQ(only().status, 200);
  EXPECT_FALSE(only().request_body_exact);
}

TEST_F(StitcherTest, DoesNotClaimTheSizeOfARequestThatWasNotReadToItsEnd) {
  for (const char* framing : {"Transfer-Encoding: chunked\r\n", "Content-Length: 1000\r\n"}) {
    exchanges.clear();
    auto connection = socket(framing[0]);
    connection.receive(post("/refused", framing) + "8\r\n01234567\r\n", CHUNK_START);
    connection.send(answer(413, "too much"));
    settle();

    EXPECT_EQ(only().status, 413);
    EXPECT_FALSE(only().request_body_exact);
  }
}

TEST_F(StitcherTest, BelievesTheEndOfUnseenChunksOnlyAfterSilence) {
  auto connection = socket();
  connection.receive(get("/stream"), CHUNK_START);
  const std::string data(4000, 'd');
  connection.send(kChunkedHead + "fa0\r\n" + data + "\r\n");
  connection.send(
      "7d0\r\n" + data.substr(0, 2000) + "\r\n7d0\r\n" + data.substr(0, 2000) + "\r\n0\r\n\r\n", 0,
      64);
  stitcher.advance(now_ns + 1);
  EXPECT_TRUE(exchanges.empty());
  connection.send("3\r\nabc\r\n0\r\n\r\n"); // it was not the end
  const uint64_t end_ns = now_ns;
  settle();

  EXPECT_EQ(only().outcome, Outcome::kComplete);
  EXPECT_EQ(only().end_ns, end_ns);
  EXPECT_FALSE(only().response_body_exact);
}

TEST_F(StitcherTest, KnowsAnswersThatHaveNoBody) {
  auto connection = socket();
  connection.receive("HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n", CHUNK_START);
  connection.send("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n");
  connection.receive(get("/204"), CHUNK_START);
  connection.send("HTTP/1.1 204 No Content\r\n\r\n");
  connection.receive(get("/304"), CHUNK_START);
  connection.send("HTTP/1.1 304 Not Modified\r\nContent-Length: 12\r\n\r\n");

  ASSERT_EQ(exchanges.size(), 3U);
  for (const auto& exchange : exchanges) EXPECT_EQ(exchange.response_body_bytes, 0U);
}

TEST_F(StitcherTest, SkipsInterimAnswersAndEndsAtAnUpgrade) {
  auto connection = socket();
  connection.receive(get("/ws", "Upgrade: websocket\r\n"), CHUNK_START);
  connection.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
  connection.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello");
  connection.receive(get("/inside-the-tunnel"), CHUNK_START);
  connection.send(answer(200, "not http"));

  EXPECT_EQ(only().status, 101);
}

TEST_F(StitcherTest, EndsAnHttp10AnswerWithTheConnection) {
  auto connection = socket();
  connection.receive("GET / HTTP/1.0\r\n\r\n", CHUNK_START);
  connection.send("HTTP/1.0 200 OK\r\n\r\nsome");
  connection.send("thing");
  connection.state(4);

  EXPECT_EQ(only().version_minor, 0);
  EXPECT_EQ(only().response_body_bytes, 9U);
  EXPECT_EQ(only().outcome, Outcome::kComplete);
}

TEST_F(StitcherTest, TellsHowAnExchangeWithoutAnAnswerEnded) {
  auto fail = [&](uint64_t id, auto&& end) {
    exchanges.clear();
    auto connection = socket(id);
    connection.start.goid = id;
    connection.receive(get("/"), CHUNK_START);
    end(connection, id);
    return only();
  };
  auto panic = [&](uint64_t goid, std::string_view message) {
    stitcher.take(Panic{.time_ns = ++now_ns, .tgid = kPid, .goid = goid, .message = message});
  };

  auto ended = fail(10, [&](auto& connection, uint64_t goid) {
    panic(goid, "boom");
    connection.state(4);
  });
  EXPECT_EQ(ended.outcome, Outcome::kPanic);
  EXPECT_EQ(ended.error, "boom");

  ended = fail(11, [&](auto& connection, uint64_t goid) {
    panic(goid, "net/http: abort Handler");
    connection.state(4);
  });
  EXPECT_EQ(ended.outcome, Outcome::kAbort);

  ended = fail(12, [&](auto& connection, uint64_t) { connection.state(4); });
  EXPECT_EQ(ended.outcome, Outcome::kHijack);

  ended = fail(13, [&](auto& connection, uint64_t) { connection.send("RAW protocol"); });
  EXPECT_EQ(ended.outcome, Outcome::kHijack);

  ended = fail(14, [&](auto& connection, uint64_t) {
    connection.end_received();
    connection.state(7);
  });
  EXPECT_EQ(ended.outcome, Outcome::kDisconnect);

  ended = fail(15, [&](auto& connection, uint64_t) { connection.state(7, ECONNRESET); });
  EXPECT_EQ(ended.outcome, Outcome::kDisconnect);
  EXPECT_THAT(ended.error, HasSubstr("reset"));

  ended = fail(16, [&](auto& connection, uint64_t) { connection.state(7, 0, true); });
  EXPECT_EQ(ended.error, "the process ended");

  ended = fail(17, [&](auto& connection, uint64_t goid) {
    panic(goid, "recovered by a middleware");
    connection.send(answer(500, "sorry"));
  });
  EXPECT_EQ(ended.outcome, Outcome::kComplete);
  EXPECT_EQ(ended.status, 500);
  EXPECT_EQ(ended.error, "recovered by a middleware");

  panic(999, "of a goroutine without a request");
}

TEST_F(StitcherTest, GoesOnBehindRequestsThatWereNotSampled) {
  auto connection = socket();
  connection.receive(get("/1"), CHUNK_START);
  connection.send(answer(200, "1"));
  connection.lose_received(500);
  connection.lose_sent(700);
  connection.receive(get("/3"), CHUNK_START);
  connection.send(answer(200, "3"));

  ASSERT_EQ(exchanges.size(), 2U);
  EXPECT_EQ(exchanges[1].target, "/3");
  EXPECT_EQ(stitcher.statistics().exchanges_incomplete, 0U);
}

TEST_F(StitcherTest, DropsAnExchangeWhoseAnswerWasLostAndSaysSo) {
  auto connection = socket();
  connection.receive(get("/lost"), CHUNK_START);
  connection.lose_sent(100);
  connection.receive(get("/kept"), CHUNK_START);
  connection.send(answer(200, "ok"));

  EXPECT_EQ(only().target, "/kept");
  EXPECT_EQ(stitcher.statistics().exchanges_incomplete, 1U);
}

TEST_F(StitcherTest, SurvivesALostPieceOfABodyWithALength) {
  auto connection = socket();
  connection.receive(
      post("/body", "Content-Length: 3000\r\n") + std::string(1000, 'a'), CHUNK_START);
  connection.lose_received(1000);
  connection.receive(std::string(1000, 'c'));
  connection.send("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n" + std::string(10, 'a'));
  connection.lose_sent(10);
  connection.send(std::string(10, 'c'));

  EXPECT_EQ(only().request_body_bytes, 3000U);
  EXPECT_EQ(only().response_body_bytes, 30U);
}

TEST_F(StitcherTest, IgnoresAnswersToRequestsItNeverSaw) {
  auto connection = socket();
  connection.send(answer(200, "who?"));
  connection.receive("body of something");
  settle();

  EXPECT_TRUE(exchanges.empty());
  EXPECT_EQ(stitcher.connections(), 0U);
}

TEST_F(StitcherTest, TakesTheParentFromTraceparentOnlyWhenItIsValid) {
  const std::string valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  auto parent_of = [&](const std::string& headers) {
    exchanges.clear();
    auto connection = socket(now_ns);
    connection.receive(get("/", headers), CHUNK_START);
    connection.send(answer(200, ""));
    return only();
  };

  auto exchange = parent_of("TraceParent: " + valid + "\r\ntracestate: a=1\r\nTraceState: b=2\r\n");
  EXPECT_TRUE(exchange.parent_is_remote);
  EXPECT_EQ(exchange.trace_id[0], 0x0a);
  EXPECT_EQ(exchange.tracestate, "a=1,b=2");

  for (const std::string& bad :
       {std::string("00-00000000000000000000000000000000-b7ad6b7169203331-01"),
        std::string("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"),
        std::string("00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        std::string("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), valid + "-extra",
        valid.substr(1), valid + "\r\ntraceparent: " + valid})
    EXPECT_FALSE(parent_of("traceparent: " + bad + "\r\n").parent_is_remote) << bad;
  EXPECT_TRUE(parse_traceparent("01" + valid.substr(2) + "-extra").has_value());
}

class ClientTest : public StitcherTest {
 protected:
  ClientTest() : server(socket(1)), client(socket(2, Side::kClient)) {}
  void serve(const std::string& target) { server.receive(get(target), CHUNK_START); }
  void call(uint64_t goid, uint64_t parent_goid, const std::string& target = "/next") {
    client.start.goid = goid;
    client.start.parent_goid = parent_goid;
    client.send(get(target), CHUNK_START);
  }
  const HttpExchange& call_and_answer(uint64_t goid, uint64_t parent_goid) {
    call(goid, parent_goid);
    client.receive(answer(200, "ok"));
    return exchanges.back();
  }
  FakeSocket server, client;
};

TEST_F(ClientTest, IsTheChildOfTheRequestOnItsGoroutine) {
  serve("/in");
  const auto call = call_and_answer(kGoid, 0);
  server.send(answer(200, ""));

  EXPECT_EQ(call.side, Side::kClient);
  EXPECT_EQ(call.parent_span_id, exchanges[1].span_id);
  EXPECT_EQ(call.trace_id, exchanges[1].trace_id);
}

TEST_F(ClientTest, IsTheChildOfTheRequestOfItsStarterButAWorkerIsNot) {
  serve("/first");
  const auto child = call_and_answer(50, kGoid);
  const auto again = call_and_answer(50, kGoid);
  server.send(answer(200, ""));
  const auto first = exchanges.back();
  EXPECT_EQ(child.parent_span_id, first.span_id);
  EXPECT_EQ(again.parent_span_id, first.span_id);

  // It lives on, and its starter answers another request by now.
  serve("/second");
  const auto later = call_and_answer(50, kGoid);
  EXPECT_EQ(later.parent_span_id, decltype(later.parent_span_id){});
  EXPECT_NE(later.trace_id, first.trace_id);
}

TEST_F(ClientTest, OfAnEndedRequestIsARoot) {
  serve("/in");
  server.send(answer(200, ""));
  EXPECT_EQ(call_and_answer(kGoid, 0).parent_span_id, (std::array<uint8_t, 8>{}));
}

TEST_F(ClientTest, TellsWhyACallFailed) {
  auto fail = [&](bool timed_out, std::string_view message, bool with_reason) {
    exchanges.clear();
    call(kGoid, 0);
    client.state(4);
    if (with_reason)
      stitcher.take(CallError{
          .time_ns = ++now_ns,
          .tgid = kPid,
          .goid = kGoid,
          .timed_out = timed_out,
          .message = message});
    else
      settle();
    return only().outcome;
  };

  EXPECT_EQ(fail(true, "", true), Outcome::kTimeout);
  EXPECT_EQ(fail(false, "context canceled", true), Outcome::kCancel);
  EXPECT_EQ(fail(false, "EOF", true), Outcome::kReset);
  EXPECT_EQ(fail(false, "", false), Outcome::kCancel);
}

TEST_F(ClientTest, CountsRedirectsAsResends) {
  call(kGoid, 0, "/old");
  client.receive(
      "HTTP/1.1 302 Found\r\nLocation: http://shop/new?x=1#frag\r\nContent-Length: 0\r\n\r\n");
  call(kGoid, 0, "/new?x=1");
  client.receive(answer(200, ""));
  call(kGoid, 0, "/new?x=1");
  client.receive(answer(200, ""));

  ASSERT_EQ(exchanges.size(), 3U);
  EXPECT_EQ(exchanges[0].resend_count, 0U);
  EXPECT_EQ(exchanges[1].resend_count, 1U);
  EXPECT_EQ(exchanges[2].resend_count, 0U);
}

TEST_F(StitcherTest, BoundsItsMemoryAndCountsWhatItForgets) {
  for (uint64_t id = 1; id <= kConnectionsMax + 10; ++id) {
    auto connection = socket(id);
    connection.start.goid = id;
    connection.receive(get("/"), CHUNK_START);
  }
  EXPECT_EQ(stitcher.connections(), kConnectionsMax);
  EXPECT_EQ(stitcher.statistics().exchanges_evicted, 10U);

  const uint64_t before =
      stitcher.statistics().exchanges_evicted + 1; // the connection that makes room
  auto pipelined = socket(kConnectionsMax * 2);
  std::string requests;
  for (size_t i = 0; i < kPipelinedRequestsMax + 1; ++i) requests += "A / HTTP/1.1\r\n\r\n";
  pipelined.receive(requests, CHUNK_START);
  EXPECT_EQ(stitcher.statistics().exchanges_evicted, before + 1);

  stitcher.forget_process(kPid);
  EXPECT_EQ(stitcher.connections(), 0U);
}

TEST_F(StitcherTest, LetsGoOfConnectionsThatWereClosed) {
  for (uint64_t id = 1; id <= 100; ++id) {
    auto connection = socket(id);
    connection.receive(get("/"), CHUNK_START);
    connection.send(answer(200, ""));
    connection.end_received();
    connection.state(8);
    connection.state(7);
  }
  EXPECT_EQ(exchanges.size(), 100U);
  EXPECT_EQ(stitcher.connections(), 0U);
}

} // namespace
} // namespace agent::event
