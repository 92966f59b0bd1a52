/*
 * The newest version of an adapter over libpq, at the command of bench/cases/postgres.ts: a prepared statement, results in
 * binary, and nothing done with the bytes, so about the least that a load can cost. Takes the address of the database and
 * the users; reads lines from stdin. `load 50`: loads for 50 ms, user after user, and answers with the nanoseconds each
 * took. `show 0`: answers with the bytes of the first user's adapter in hex. It waits in between, so that it and the sides
 * in Node take turns on the machine.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const newest =
    "select weights from lora_adapters where user_id = $1 and adapter_name = $2 order by version desc limit 1";

enum { UUID_OID = 2950, VARCHAR_OID = 1043, BINARY = 1 };

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void fail(PGconn *connection) {
  fputs(PQerrorMessage(connection), stderr);
  exit(1);
}

static PGresult *load(PGconn *connection, const char *user) {
  const char *values[] = {user, "default"};
  PGresult *result = PQexecPrepared(connection, "newest", 2, values, NULL, NULL, BINARY);
  if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1) fail(connection);
  return result;
}

int main(int count, char **arguments) {
  if (count < 3) return 2;
  char **users = arguments + 2;
  int all = count - 2, next = 0;
  PGconn *connection = PQconnectdb(arguments[1]);
  if (PQstatus(connection) != CONNECTION_OK) fail(connection);
  const Oid types[] = {UUID_OID, VARCHAR_OID};
  PGresult *prepared = PQprepare(connection, "newest", newest, 2, types);
  if (PQresultStatus(prepared) != PGRES_COMMAND_OK) fail(connection);
  PQclear(prepared);

  printf("ready %d\n", PQlibVersion());
  fflush(stdout);
  char work[16];
  int argument;
  while (scanf("%15s %d", work, &argument) == 2) {
    if (strcmp(work, "show") == 0) {
      PGresult *result = load(connection, users[argument]);
      const unsigned char *bytes = (const unsigned char *)PQgetvalue(result, 0, 0);
      for (int i = 0; i < PQgetlength(result, 0, 0); i++) printf("%02x", bytes[i]);
      PQclear(result);
    } else {
      const long long end = now() + argument * 1000000LL;
      do {
        const long long start = now();
        PQclear(load(connection, users[next]));
        printf("%lld ", now() - start);
        next = (next + 1) % all;
      } while (now() < end);
    }
    printf("\n");
    fflush(stdout);
  }
  PQfinish(connection);
}
