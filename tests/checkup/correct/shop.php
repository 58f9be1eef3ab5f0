<?php
// A correct integration in plain PHP: every webhook is a reason to read the order. Its own system is one JSON file.
// Run by test_correct_receivers.py with `php -S`.
declare(strict_types=1);

const CLOSED = ['cancelled', 'expired', 'rejected'];
const LEFT = ['dispatched', 'delivered', 'partially_delivered', 'for_return', 'returned', 'partially_returned'];

ini_set('display_errors', '0');
if ($_SERVER['REQUEST_METHOD'] === 'GET') {
    header('Content-Type: application/json');
    echo json_encode(probe($_SERVER['QUERY_STRING'] ?? ''));
    exit;
}
$event = json_decode(file_get_contents('php://input'), true);
if (!is_array($event) || !isset($event['event_type'])) {
    http_response_code(400);
    exit;
}
if (isset($event['order']['code'])) {
    with_lock($event['order']['code'], fn () => take($event['order']['code']));
}
if (isset($event['return']['return_code'])) {
    with_lock($event['return']['return_code'], fn () => review($event['return']['return_code']));
}
echo 'OK';

/** Handle one event of an order or a return at a time. */
function with_lock(string $name, callable $work): void
{
    $lock = fopen(getenv('SHOP_FOLDER') . '/' . md5($name) . '.lock', 'c');
    flock($lock, LOCK_EX);
    $work();
    fclose($lock);
}

/** Change the shop's own system: orders by code, and the stock. */
function change(callable $work): mixed
{
    $file = fopen(getenv('SHOP_FOLDER') . '/shop.json', 'c+');
    flock($file, LOCK_EX);
    $shop = json_decode(stream_get_contents($file) ?: '', true) ?: ['orders' => [], 'stock' => []];
    $result = $work($shop);
    rewind($file);
    ftruncate($file, 0);
    fwrite($file, json_encode($shop));
    fclose($file);
    return $result;
}

/** @return array{int, array} the status, or 0 without an answer, and the decoded body */
function call(string $method, string $path, string|array|null $body = null, string $type = 'application/json'): array
{
    $content = is_array($body) ? json_encode($body, JSON_UNESCAPED_UNICODE) : (string) $body;
    $context = stream_context_create(['http' => [
        'method' => $method,
        'header' => [
            'Authorization: Bearer ' . getenv('KALATHI_TOKEN'),
            'Accept: application/vnd.skroutz+json; version=3.0',
            "Content-Type: $type",
        ],
        'content' => $content,
        'timeout' => 8.0,
        'ignore_errors' => true,
    ]]);
    $stream = @fopen(getenv('KALATHI_URL') . "/merchants/ecommerce$path", 'rb', false, $context);
    if ($stream === false) {
        return [0, []];
    }
    $answer = json_decode(stream_get_contents($stream) ?: '', true) ?: [];
    $status = (int) explode(' ', stream_get_meta_data($stream)['wrapper_data'][0] ?? '0 0')[1];
    fclose($stream);
    return [$status, $answer];
}

/** Read an order. Null if the marketplace does not know it; any other failure becomes a 500, and the webhook comes again. */
function read_order(string $code): ?array
{
    [$status, $answer] = call('GET', "/orders/$code");
    if ($status !== 200 && $status !== 404) {
        throw new RuntimeException("GET $code: $status");
    }
    return $answer['order'] ?? null;
}

function take(string $code): void
{
    $order = read_order($code);
    if ($order === null) {
        return;
    }
    update($order);
    if ($order['state'] === 'open' && !$order['express']) {
        answer($order);
    } elseif ($order['state'] === 'accepted') {
        prepare($order);
    }
}

function update(array $order): void
{
    change(function (array &$shop) use ($order): void {
        $mine = $shop['orders'][$order['code']] ?? ['held' => [], 'left' => false];
        $mine['state'] = $order['state'];
        $mine['total'] = array_sum(array_column($order['line_items'], 'total_price'));
        $mine['customer'] = $order['customer']['first_name'] . ' ' . $order['customer']['last_name'];
        $mine['tracking_codes'] = $order['courier_tracking_codes'];
        $mine['left'] = $mine['left'] || in_array($order['state'], LEFT, true);
        if ($order['state'] === 'accepted') {
            hold($shop, $mine, $order);
        } elseif (in_array($order['state'], CLOSED, true) && !$mine['left']) {
            foreach ($mine['held'] as $uid => $quantity) {
                $shop['stock'][$uid] += $quantity;
            }
            $mine['held'] = [];
        }
        $shop['orders'][$order['code']] = $mine;
    });
}

function hold(array &$shop, array &$mine, array $order): void
{
    if ($mine['held'] !== []) {
        return;
    }
    foreach ($order['line_items'] as $line) {
        $uid = uid_of($line);
        $shop['stock'][$uid] = ($shop['stock'][$uid] ?? 0) - $line['quantity'];
        $mine['held'][$uid] = ($mine['held'][$uid] ?? 0) + $line['quantity'];
    }
}

function uid_of(array $line): string
{
    return $line['size']['shop_variation_uid'] ?? $line['shop_variation_uid'] ?? $line['shop_uid'];
}

function answer(array $order): void
{
    $stock = change(fn (array &$shop): array => $shop['stock']);
    $rejected = [];
    foreach ($order['line_items'] as $line) {
        $available = max(0, $stock[uid_of($line)] ?? 0);
        if ($available < $line['quantity']) {
            $rejected[] = $available > 0
                ? ['id' => $line['id'], 'reason_id' => 4, 'available_quantity' => $available]
                : ['id' => $line['id'], 'reason_id' => 1];
        }
    }
    if ($rejected !== []) {
        post("/orders/{$order['code']}/reject", ['line_items' => $rejected]);
    } else {
        $body = ['pickup_location' => $order['accept_options']['pickup_location'][0]['id'], 'number_of_parcels' => 1];
        if ($order['accept_options']['pickup_window'] !== []) {
            $body['pickup_window'] = $order['accept_options']['pickup_window'][0]['id'];
        }
        post("/orders/{$order['code']}/accept", $body);
    }
    update(read_order($order['code']));
}

/** Make a call, and try again after a temporary failure. A refusal means that the order was answered already. */
function post(string $path, ?array $body): void
{
    for ($tries = 1; ; $tries++) {
        [$status] = call('POST', $path, $body);
        if (!in_array($status, [0, 429, 500, 502, 503], true)) {
            return;
        }
        if ($tries === 4) {
            throw new RuntimeException("POST $path: $status");
        }
        usleep($status === 429 ? 1_050_000 : 50_000);
    }
}

function prepare(array $order): void
{
    $code = $order['code'];
    if ($order['invoice'] && $order['uploaded_invoice_file'] === null) {
        $part = "Content-Disposition: form-data; name=\"invoice_file\"; filename=\"invoice.pdf\"\r\n"
            . "Content-Type: application/pdf\r\n\r\n%PDF-1.4\n%%EOF\n";
        call('POST', "/orders/$code/invoices", "--limit\r\n$part\r\n--limit--\r\n", 'multipart/form-data; boundary=limit');
    }
    if (($order['fulfillment_mode'] ?? '') === 'fbm' && is_first($code, 'tracked')) {
        $details = [['courier' => 'acs', 'tracking_code' => '224085551']];
        post("/orders/$code/tracking_details", ['tracking_details' => $details]);
    }
    $waits = $order['set_as_ready_required'] && !$order['is_ready_for_dispatch'] && $order['courier_voucher'] !== null;
    if ($waits && is_first($code, 'ready')) {
        post("/orders/$code/set_as_ready", null);
    }
}

/** Whether this is done for the first time for this order. */
function is_first(string $code, string $mark): bool
{
    return change(function (array &$shop) use ($code, $mark): bool {
        $is_first = !isset($shop['orders'][$code][$mark]);
        $shop['orders'][$code][$mark] = true;
        return $is_first;
    });
}

function review(string $code): void
{
    [, $answer] = call('GET', "/returns/$code");
    if (($answer['return']['state'] ?? '') === 'pending_merchant_review') {
        post("/returns/$code/review", ['option' => 'approve']);
    }
}

function probe(string $query): array
{
    preg_match_all('/(?:^|&)sku=([^&]*)/', $query, $found);
    parse_str($query, $given);
    return change(function (array &$shop) use ($given, $found): array {
        $stock = [];
        foreach (array_map('urldecode', $found[1]) as $uid) {
            $stock[$uid] = $shop['stock'][$uid] ?? 0;
        }
        $mine = $shop['orders'][$given['order'] ?? ''] ?? null;
        $answer = ['orders' => $mine === null ? 0 : 1, 'stock' => (object) $stock];
        return $mine === null ? $answer : $answer + [
            'state' => $mine['state'],
            'total' => $mine['total'],
            'customer' => $mine['customer'],
            'tracking_codes' => $mine['tracking_codes'],
        ];
    });
}
