<?php
// A client of Smart Cart's merchant API in plain PHP 8.1 or later, without extensions and without composer.
// docs/php.md explains it. Copy this file beside your own code.
declare(strict_types=1);

/** The marketplace refused a call, or it did not answer: then the status is 0. */
final class SmartCartError extends RuntimeException
{
    /** @param list<array{code: string, messages: list<string>}> $errors */
    public function __construct(public readonly int $status, public readonly array $errors, string $message)
    {
        parent::__construct($message, $status);
    }

    /** Whether the same call can succeed later: no answer, too many calls, or a fault of the server. */
    public function isTemporary(): bool
    {
        return $this->status === 0 || $this->status === 429 || $this->status >= 500;
    }
}

final class SmartCart
{
    public function __construct(
        private readonly string $url,
        private readonly string $token,
        private readonly string $vendor = 'skroutz',
        private readonly float $timeoutSeconds = 5.0,
    ) {
    }

    /** Every order of the shop in this state, newest change first. */
    public function orders(string $state): array
    {
        $orders = [];
        $page = 1;
        do {
            $answer = $this->call('GET', "/orders?state=$state&per=100&page=$page");
            foreach ($answer['orders'] as $order) {
                $orders[$order['code']] = $order;
            }
        } while ($page++ < ($answer['meta']['pagination']['total_pages'] ?? 1));
        return array_values($orders);
    }

    public function order(string $code): array
    {
        return $this->call('GET', '/orders/' . rawurlencode($code))['order'];
    }

    /** Accept the order with the first location and the first pickup window on offer. */
    public function accept(array $order, int $parcels = 1): void
    {
        $options = $order['accept_options'];
        $choice = ['pickup_location' => $options['pickup_location'][0]['id'], 'number_of_parcels' => $parcels];
        // A store pickup has no window.
        if ($options['pickup_window'] !== []) {
            $choice['pickup_window'] = $options['pickup_window'][0]['id'];
        }
        $this->call('POST', '/orders/' . rawurlencode($order['code']) . '/accept', $choice);
    }

    /** @param list<array{id: string, reason_id: int, available_quantity?: int}> $lines */
    public function rejectLines(string $code, array $lines): void
    {
        $this->call('POST', '/orders/' . rawurlencode($code) . '/reject', ['line_items' => $lines]);
    }

    public function reject(string $code, string $reason): void
    {
        $this->call('POST', '/orders/' . rawurlencode($code) . '/reject', ['rejection_reason_other' => $reason]);
    }

    /** The bytes of a voucher or another document. Its link needs no token. */
    public function download(string $link): string
    {
        [$status, $body] = $this->send('GET', $link, [], null);
        if ($status !== 200) {
            throw new SmartCartError($status, [], "The document was not sent (status $status).");
        }
        return $body;
    }

    private function call(string $method, string $path, ?array $body = null): array
    {
        $headers = [
            "Authorization: Bearer $this->token",
            "Accept: application/vnd.$this->vendor+json; version=3.0",
            'Content-Type: application/json; charset=utf-8',
        ];
        $content = $body === null ? null : json_encode($body, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE);
        [$status, $text] = $this->send($method, "$this->url/merchants/ecommerce$path", $headers, $content);
        $answer = json_decode($text, true);
        if ($status >= 200 && $status < 300 && is_array($answer)) {
            return $answer;
        }
        $errors = is_array($answer['errors'] ?? null) ? $answer['errors'] : [];
        $messages = array_merge(...array_column($errors, 'messages'));
        throw new SmartCartError($status, $errors, implode(' ', $messages) ?: "The answer has the status $status.");
    }

    /** @return array{int, string} the status, or 0 without an answer, and the body */
    private function send(string $method, string $url, array $headers, ?string $content): array
    {
        $stream = @fopen($url, 'rb', false, stream_context_create(['http' => [
            'method' => $method,
            'header' => $headers,
            'content' => $content ?? '',
            'timeout' => $this->timeoutSeconds,
            'ignore_errors' => true, // The body of a refusal names the reason.
            'follow_location' => 0, // A followed redirect would turn a POST into a GET.
        ]]));
        if ($stream === false) {
            return [0, ''];
        }
        $text = stream_get_contents($stream);
        $facts = stream_get_meta_data($stream);
        fclose($stream);
        if ($text === false || $facts['timed_out']) {
            return [0, ''];
        }
        return [(int) explode(' ', $facts['wrapper_data'][0] ?? '')[1], $text];
    }
}

/**
 * Whether a webhook has a signature of one of the secrets (Standard Webhooks), and is at most five minutes old.
 *
 * @param list<string> $secrets such as whsec_...
 * @param array<string, string> $headers with lower-case names
 */
function is_signed(array $secrets, array $headers, string $body, ?int $now = null): bool
{
    $id = $headers['webhook-id'] ?? '';
    $time = $headers['webhook-timestamp'] ?? '';
    if (!ctype_digit($time) || abs(($now ?? time()) - (int) $time) > 300) {
        return false;
    }
    foreach ($secrets as $secret) {
        $key = base64_decode(preg_replace('/^whsec_/', '', $secret), true);
        if ($key === false || $key === '') {
            throw new InvalidArgumentException('A signing secret is whsec_ and base64.');
        }
        $expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$time.$body", $key, true));
        foreach (explode(' ', $headers['webhook-signature'] ?? '') as $given) {
            if (hash_equals($expected, $given)) {
                return true;
            }
        }
    }
    return false;
}
