/**
 * TLS in front of a server that speaks none, as stunnel does it, with a certificate made for it: for localhost and
 * 127.0.0.1, by openssl on PATH. It works for every server the tests may run on, a container's too.
 */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';

const execute = promisify(execFile);

export interface TlsFront {
  readonly port: number;
  /** PEM, for NODE_EXTRA_CA_CERTS: whoever does not name it does not trust this server. */
  readonly certificate: string;
  /** Of each connection so far, the name it asked for; false: none. */
  readonly names: readonly (string | false | null)[];
  close(): Promise<void>;
}

/** target: a URL of that server. */
export async function startTls(target: string): Promise<TlsFront> {
  const { hostname, port } = new URL(target);
  const directory = mkdtempSync(join(tmpdir(), 'lora-store-tls-'));
  const [key, certificate] = [join(directory, 'key.pem'), join(directory, 'certificate.pem')];
  await makeCertificate(key, certificate);
  const names: TLSSocket['servername'][] = [];
  const open = new Set<TLSSocket>();
  const server = createServer({ key: readFileSync(key), cert: readFileSync(certificate) }, (client) => {
    names.push(client.servername);
    open.add(client);
    const upstream = connect(Number(port), hostname);
    client.pipe(upstream).pipe(client);
    client.on('error', () => undefined).on('close', () => open.delete(client) && upstream.destroy());
    upstream.on('error', () => undefined).on('close', () => client.destroy());
  });
  server.on('tlsClientError', () => undefined).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    certificate,
    names,
    async close() {
      for (const client of open) client.destroy();
      server.close();
      await once(server, 'close');
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** PEM files at those paths, signed by itself: it is its own authority. */
export async function makeCertificate(key: string, certificate: string): Promise<void> {
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const whom = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  await execute('openssl', ['req', '-x509', ...curve, ...whom, '-days', '2', '-keyout', key, '-out', certificate]);
}
